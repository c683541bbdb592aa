//! `cargo xtask bench`: a training step and an evaluation pass against PyTorch with transformers,
//! in turns.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use spanwise_artifact::{UserError, jsonl};

use spanwise_program::measure::{Memory, median};
use spanwise_runner::{links, workspace};

use crate::{doctor, programs, python};

/// What to compare and how long.
#[derive(Args)]
pub(crate) struct Bench {
    /// The script to compare with: `SCRIPT speed --checkpoint DIR --batch N --length N --precision P
    /// --device D [--compile]` does the same work and prints one JSON line with `train_step_s` and
    /// `eval_step_s`, medians in seconds, and on a GPU `train_peak_bytes`
    #[arg(long, value_name = "SCRIPT")]
    peer: Option<PathBuf>,
    /// A Python with torch and transformers. Default: an environment made for it in `.libtorch/`,
    /// with torch 2.9.0 and transformers 4.57
    #[arg(long)]
    python: Option<PathBuf>,
    /// A checkpoint to measure as well, a directory in Hugging Face's layout. Without one, only
    /// random models are: 4 × 512 on a CPU, base and large on a GPU
    #[arg(long, value_name = "DIRECTORY")]
    checkpoint: Option<PathBuf>,
    /// Where both sides compute
    #[arg(long, default_value = "cpu")]
    device: BenchDevice,
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

/// A device that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchDevice {
    Cpu,
    Cuda,
}

impl BenchDevice {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// Tokens of a row.
    fn length(self) -> usize {
        match self {
            Self::Cpu => 384,
            Self::Cuda => 512,
        }
    }

    fn formats(self) -> &'static [Format] {
        match self {
            Self::Cpu => &[Format::Fp32, Format::Bf16],
            Self::Cuda => &[Format::Fp32, Format::Tf32, Format::Fp16, Format::Bf16],
        }
    }
}

/// Number format of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Fp32,
    /// fp32 of which a GPU multiplies the first 10 bits after the point.
    Tf32,
    Fp16,
    Bf16,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// How our bench program is told.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Fp32 => &["--precision", "fp32"],
            Self::Tf32 => &["--precision", "fp32", "--tf32"],
            Self::Fp16 => &["--precision", "fp16"],
            Self::Bf16 => &["--precision", "bf16"],
        }
    }
}

/// One model in one format.
struct Case {
    name: String,
    checkpoint: PathBuf,
    format: Format,
    device: BenchDevice,
    /// Rows.
    batch: usize,
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
    /// Largest resident set, or the most bytes in tensors of a GPU at once.
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
    writeln!(out, "{}", on(bench.device))?;
    writeln!(
        out,
        "rows of {} tokens; ours / peer, median of {} rounds (smallest–largest)\n",
        bench.device.length(),
        bench.rounds
    )?;
    writeln!(
        out,
        "| case | train step | evaluation | peak memory | train TFLOP/s | train, share of a plain \
         product's speed | evaluation, share |\n|---|---|---|---|---|---|---|"
    )?;
    for case in cases.iter().filter(|case| case.name.contains(&bench.only)) {
        let columns = sides.compare(case, bench)?.map_or_else(
            || "left out: no bf16 in hardware | | | | |".to_owned(),
            |columns| columns.join(" | "),
        );
        writeln!(out, "| {} | {columns} |", case.name)?;
    }
    Ok(())
}

impl Sides {
    /// Lets both sides take turns on a case: ratios of train step, evaluation and memory, our
    /// operations a second, and their share of a plain product's, each with its spread. None: this
    /// machine leaves the case out.
    fn compare(&self, case: &Case, bench: &Bench) -> Result<Option<[String; 6]>> {
        let mut columns: [Vec<f64>; 6] = Default::default();
        for _ in 0..bench.rounds {
            let mut command = Command::new(&self.ours);
            command.args(case.format.arguments());
            let Some(ours) = measure(&mut command, case)? else {
                return Ok(None);
            };
            let mut command = Command::new(&self.python);
            command.arg(&self.peer).arg("speed");
            command.args(["--precision", case.format.name()]);
            if bench.compile {
                command.arg("--compile");
            }
            let peers = measure(&mut command, case)?.context("the peer measured nothing")?;
            columns[0].push(ours.train / peers.train);
            columns[1].push(ours.evaluate / peers.evaluate);
            columns[2].push(ours.memory / peers.memory);
            let figure = |key: &str| ours.all[key].as_f64();
            let trained = figure("train_tflops");
            columns[3].extend(trained);
            if let Some(plain) = figure("matmul_gflops") {
                columns[4].extend(trained.map(|tflops| 1e3 * tflops / plain));
                columns[5].extend(figure("eval_gflops").map(|gflops| gflops / plain));
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

/// What the figures were measured on, where that is a GPU.
fn on(device: BenchDevice) -> String {
    if device == BenchDevice::Cpu {
        return String::new();
    }
    let name = doctor::first_line("nvidia-smi", &["--query-gpu=name", "--format=csv,noheader"]);
    format!(
        "{}, libtorch {}; ",
        name.unwrap_or_else(|| "an unknown GPU".to_owned()),
        doctor::libtorch()
    )
}

/// Every model on a CPU with and without dropout of attention weights, on a GPU with it, in every
/// format.
fn cases(bench: &Bench) -> Result<Vec<Case>> {
    let device = bench.device;
    let directory = workspace::output().join("runs/bench");
    let mut models = Vec::new();
    if let Some(checkpoint) = &bench.checkpoint {
        let checkpoint = workspace::resolve(checkpoint);
        let config: Value = jsonl::read_document(&checkpoint.join("config.json"))?;
        let weights = Some(checkpoint.join("model.safetensors"));
        models.push((size(&config), config, weights, 8));
    }
    // Layers, width, rows.
    let random: &[_] = match device {
        BenchDevice::Cpu => &[(4, 512, 8)],
        BenchDevice::Cuda => &[(12, 768, 32), (24, 1024, 8), (24, 1024, 32)],
    };
    for &(layers, width, batch) in random {
        let config = bert(layers, width);
        models.push((size(&config), config, None, batch));
    }
    let dropouts: &[f64] = match device {
        BenchDevice::Cpu => &[0.0, 0.1],
        BenchDevice::Cuda => &[0.1],
    };
    let mut cases = Vec::new();
    for (name, config, weights, batch) in models {
        for &dropout in dropouts {
            let checkpoint = directory.join(format!("{name}-{dropout}").replace(' ', ""));
            fs_err::create_dir_all(&checkpoint)?;
            let mut config = config.clone();
            config["attention_probs_dropout_prob"] = dropout.into();
            config["hidden_dropout_prob"] = 0.1.into();
            jsonl::write_document(&checkpoint.join("config.json"), &config)?;
            if let Some(weights) = &weights {
                links::replace(weights, &checkpoint.join("model.safetensors"))?;
            }
            for &format in device.formats() {
                let precision = format.name();
                cases.push(Case {
                    name: format!("{name}, {batch} rows, {precision}, attention dropout {dropout}"),
                    checkpoint: checkpoint.clone(),
                    format,
                    device,
                    batch,
                });
            }
        }
    }
    Ok(cases)
}

/// The configuration of a BERT with as many layers of that width.
fn bert(layers: usize, width: usize) -> Value {
    json!({
        "model_type": "bert", "vocab_size": 21128, "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": width / 64, "intermediate_size": 4 * width, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    })
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
        .args(["--device", case.device.name()])
        .args(["--batch", &case.batch.to_string()])
        .args(["--length", &case.device.length().to_string()])
        .arg("--checkpoint")
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
    let figure = |key: &str| {
        all[key]
            .as_f64()
            .with_context(|| format!("{line} has no {key}"))
    };
    Ok(Some(Figures {
        train: figure("train_step_s")?,
        evaluate: figure("eval_step_s")?,
        memory: match case.device {
            BenchDevice::Cpu => memory as f64,
            BenchDevice::Cuda => figure("train_peak_bytes")?,
        },
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
