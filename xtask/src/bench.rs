//! `cargo xtask bench`: a training step and an evaluation pass against PyTorch with transformers,
//! in turns.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use spanwise_artifact::settings::Precision;
use spanwise_artifact::{UserError, jsonl};

use spanwise_program::measure::{Memory, median};
use spanwise_runner::{links, workspace};

use crate::{programs, python};

/// What to compare and how long.
#[derive(Args)]
pub(crate) struct Bench {
    /// The script to compare with: `SCRIPT speed --checkpoint DIR --batch N --length N [--bf16]
    /// [--compile]` does the same work and prints one JSON line with `train_step_s` and
    /// `eval_step_s`, medians in seconds
    #[arg(long, value_name = "SCRIPT")]
    peer: Option<PathBuf>,
    /// A Python with torch and transformers. Default: an environment made for it in `.libtorch/`,
    /// with torch 2.9.0 and transformers 4.57
    #[arg(long)]
    python: Option<PathBuf>,
    /// A checkpoint to measure as well, a directory in Hugging Face's layout. Without one, only a
    /// random 4 × 512 is
    #[arg(long, value_name = "DIRECTORY")]
    checkpoint: Option<PathBuf>,
    /// Times that both sides take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Let the peer compile its model first (torch.compile)
    #[arg(long)]
    compile: bool,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// The C library's allocator told not to give memory back: the same for both sides.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_MAX_", "0"),
    ("MALLOC_TRIM_THRESHOLD_", "34359738368"),
    ("MALLOC_TOP_PAD_", "268435456"),
];

const BATCH: &str = "8";
const LENGTH: &str = "384";

/// One model in one precision.
struct Case {
    name: String,
    checkpoint: PathBuf,
    precision: Precision,
}

/// How both sides are started.
struct Sides {
    /// Our bench program.
    ours: PathBuf,
    python: PathBuf,
    /// The peer's script.
    peer: PathBuf,
}

/// What one side measured once.
struct Figures {
    train: f64,
    evaluate: f64,
    /// Largest resident set, bytes.
    memory: f64,
    all: Value,
}

/// Runs every case in turns and prints ratios, ours to the peer's.
pub(crate) fn run(bench: &Bench, out: &mut dyn Write) -> Result<()> {
    let Some(peer) = &bench.peer else {
        bail!(
            UserError::new("bench compares with another program, and none was named")
                .hint("--peer SCRIPT; `cargo xtask bench --help` says what it must print")
        )
    };
    let peer = workspace::resolve(peer);
    ensure!(
        peer.is_file(),
        UserError::new(format!("--peer {}: there is no such file", peer.display()))
    );
    let python = match &bench.python {
        Some(python) => python.clone(),
        None => python::environment()?,
    };
    let sides = Sides {
        ours: programs().path("bench")?,
        python,
        peer,
    };
    let cases = cases(bench)?;
    writeln!(
        out,
        "batch {BATCH} × {LENGTH} tokens; ours / peer, median of {} rounds (smallest–largest)\n",
        bench.rounds
    )?;
    writeln!(
        out,
        "| case | train step | evaluation | peak memory | evaluation, share of a plain product's speed |\n|---|---|---|---|---|"
    )?;
    for case in cases.iter().filter(|case| case.name.contains(&bench.only)) {
        let columns = sides.compare(case, bench)?.map_or_else(
            || "left out: no bf16 in hardware | | |".to_owned(),
            |columns| columns.join(" | "),
        );
        writeln!(out, "| {} | {columns} |", case.name)?;
    }
    Ok(())
}

impl Sides {
    /// Lets both sides take turns on a case: ratios of train step, evaluation and memory, and our
    /// evaluation's share of a plain product's speed, each with its spread. None: this machine
    /// leaves the case out.
    fn compare(&self, case: &Case, bench: &Bench) -> Result<Option<[String; 4]>> {
        let mut columns: [Vec<f64>; 4] = Default::default();
        for _ in 0..bench.rounds {
            let mut command = Command::new(&self.ours);
            command.args(["--precision", &case.precision.to_string()]);
            let Some(ours) = measure(&mut command, case)? else {
                return Ok(None);
            };
            let mut command = Command::new(&self.python);
            command.arg(&self.peer).arg("speed");
            if case.precision == Precision::Bf16 {
                command.arg("--bf16");
            }
            if bench.compile {
                command.arg("--compile");
            }
            let peers = measure(&mut command, case)?.context("the peer measured nothing")?;
            columns[0].push(ours.train / peers.train);
            columns[1].push(ours.evaluate / peers.evaluate);
            columns[2].push(ours.memory / peers.memory);
            if let (Some(reached), Some(plain)) = (
                ours.all["eval_gflops"].as_f64(),
                ours.all["matmul_gflops"].as_f64(),
            ) {
                columns[3].push(reached / plain);
            }
        }
        Ok(Some(columns.map(spread)))
    }
}

/// Median, smallest and largest.
fn spread(values: Vec<f64>) -> String {
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match median(&values) {
        None => "—".to_owned(),
        Some(only) if values.len() == 1 => format!("{only:.2}"),
        Some(middle) => format!("{middle:.2} ({smallest:.2}–{largest:.2})"),
    }
}

/// Every model with and without dropout of attention weights, in both precisions.
fn cases(bench: &Bench) -> Result<Vec<Case>> {
    let directory = workspace::output().join("runs/bench");
    let mut models = Vec::new();
    if let Some(checkpoint) = &bench.checkpoint {
        let checkpoint = workspace::resolve(checkpoint);
        let config: Value = jsonl::read_document(&checkpoint.join("config.json"))?;
        let weights = Some(checkpoint.join("model.safetensors"));
        models.push((size(&config), config, weights));
    }
    let small = json!({
        "model_type": "bert", "vocab_size": 21128, "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
        "intermediate_size": 2048, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    });
    models.push((size(&small), small, None));
    let mut cases = Vec::new();
    for (name, config, weights) in models {
        for dropout in [0.0, 0.1] {
            let checkpoint = directory.join(format!("{name}-{dropout}").replace(' ', ""));
            fs_err::create_dir_all(&checkpoint)?;
            let mut config = config.clone();
            config["attention_probs_dropout_prob"] = dropout.into();
            config["hidden_dropout_prob"] = 0.1.into();
            jsonl::write_document(&checkpoint.join("config.json"), &config)?;
            if let Some(weights) = &weights {
                links::replace(weights, &checkpoint.join("model.safetensors"))?;
            }
            for precision in [Precision::Fp32, Precision::Bf16] {
                cases.push(Case {
                    name: format!("{name}, {precision}, attention dropout {dropout}"),
                    checkpoint: checkpoint.clone(),
                    precision,
                });
            }
        }
    }
    Ok(cases)
}

/// Layers × width of a model.
fn size(config: &Value) -> String {
    format!(
        "{} × {}",
        config["num_hidden_layers"], config["hidden_size"]
    )
}

/// Runs one side on a case and reads its JSON line. None: it left the case out.
fn measure(command: &mut Command, case: &Case) -> Result<Option<Figures>> {
    command
        .args(["--batch", BATCH, "--length", LENGTH, "--checkpoint"])
        .arg(&case.checkpoint)
        .envs(ALLOCATOR)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().context("start a side")?;
    let mut memory = 0;
    while child.try_wait()?.is_none() {
        memory = memory.max(Memory::Peak.of(child.id()));
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().rev().find(|line| line.starts_with('{')) else {
        bail!("{command:?} printed no figures")
    };
    let all: Value = serde_json::from_str(line)?;
    if all["left_out"] == true {
        return Ok(None);
    }
    let seconds = |key: &str| {
        all[key]
            .as_f64()
            .with_context(|| format!("{line} has no {key}"))
    };
    Ok(Some(Figures {
        train: seconds("train_step_s")?,
        evaluate: seconds("eval_step_s")?,
        memory: memory as f64,
        all,
    }))
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn spreads() {
        let cases: [(&[f64], &str); 4] = [
            (&[], "—"),
            (&[0.5], "0.50"),
            (&[0.9, 0.6], "0.75 (0.60–0.90)"),
            (&[0.9, 0.6, 0.7], "0.70 (0.60–0.90)"),
        ];
        for (values, expected) in cases {
            assert_eq!(spread(values.to_vec()), expected);
        }
    }
}
