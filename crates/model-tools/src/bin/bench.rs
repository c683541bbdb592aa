//! Times a training step and an evaluation pass on random input, as one JSON line. `cargo xtask bench` runs
//! it in turns with another implementation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use clap::Parser;
use serde_json::json;
use spanwise_artifact::settings::{self, Precision};
use spanwise_model::batch::Batch;
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::{Encodes, SpanModel};
use spanwise_model::memory::TrainingMemory;
use spanwise_model::weights;
use spanwise_ops::{device, to_f32};
use spanwise_program as program;
use spanwise_train::objective::{Example, Targets};
use spanwise_training::backward::Backward;
use spanwise_training::optimizer::{AdamW, OptimizerSettings};

#[derive(Parser)]
#[command(about = "Times a training step and an evaluation pass on random input")]
struct Arguments {
    /// Directory in Hugging Face layout. Without weights, random ones are written there first
    #[arg(long)]
    checkpoint: PathBuf,
    /// Rows of the input
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Tokens of every row
    #[arg(long, default_value_t = 384)]
    length: usize,
    /// Number format of matrix products
    #[arg(long, default_value = "fp32")]
    precision: Precision,
    /// Compute activations again in place of keeping them
    #[arg(long)]
    checkpoint_activations: bool,
    /// Device: auto, cpu, cuda, cuda:N, mps or flex
    #[arg(long, default_value = "auto")]
    device: settings::Device,
    /// Timed runs, after two that are not
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::report(&error),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let open = device::open(arguments.device)?;
    if arguments.precision == Precision::Bf16 && !device::has_bf16(&open.device) {
        // Training would not use it either, and emulated steps take minutes.
        println!("{}", json!({"device": open.name, "left_out": true}));
        return Ok(());
    }
    let device = open.device.clone().autodiff();
    let config = EncoderConfig::read(&arguments.checkpoint.join("config.json"))?;
    device.seed(0);
    let path = arguments.checkpoint.join("model.safetensors");
    if !path.exists() {
        weights::save(&SpanModel::new(&config, &device).valid(), &config, &path)?;
    }
    let precision = arguments.precision;
    let input = |device: &Device| {
        // The first ids are special tokens in most vocabularies.
        let row = |row: usize| -> (Vec<u32>, Vec<u32>) {
            let id =
                |place: usize| 110 + (row * 7919 + place * 104_729) % (config.vocab_size - 110);
            let types = config.type_vocab_size > 1;
            (0..arguments.length)
                .map(|place| (id(place) as u32, u32::from(types && place >= 30)))
                .unzip()
        };
        let rows: Vec<_> = (0..arguments.batch).map(row).collect();
        Batch::padded(&rows, arguments.length, 0, device)
    };

    let memory_before = resident_bytes("VmRSS");
    let (mut model, _) = weights::load::<SpanModel>(&arguments.checkpoint, &device)?;
    let mut optimizer = AdamW::new(OptimizerSettings::uniform(0.01, 1.0));
    let batch = input(&device);
    let examples: Vec<Example> = (0..arguments.batch)
        .map(|row| Example {
            start: 40 + 3 * row,
            end: 45 + 3 * row,
            rows: 1,
        })
        .collect();
    let targets = Targets::new(&examples, 0.0, &batch.mask);
    let train_step_s = median(arguments.repeats, || {
        let mut gradients = GradientsAccumulator::new();
        let backward = Backward {
            model: &model,
            batch: &batch,
            precision,
            seed: 0,
        };
        let loss = |hidden| targets.boundaries(&model.logits(hidden)).mean();
        let loss = backward.run(arguments.checkpoint_activations, loss, &mut gradients);
        let updated = optimizer.step(model.clone(), gradients.grads(), 3e-5, 1.0)?;
        model = updated.0;
        loss.try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))
    })?;
    let train_bytes = resident_bytes("VmHWM").saturating_sub(memory_before);
    let computed = TrainingMemory::of(
        &config,
        arguments.batch,
        arguments.length,
        precision,
        arguments.checkpoint_activations,
    );

    let model = model.valid();
    let batch = input(&open.device);
    let eval_step_s = median(arguments.repeats, || {
        let logits = model.forward(&batch, precision);
        (logits.start.sum() + logits.end.sum())
            .try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))
    })?;

    let side = 2048;
    let matrix = || {
        let matrix = Tensor::<2>::random([side, side], Distribution::Default, &open.device);
        match arguments.precision {
            Precision::Fp32 => matrix,
            Precision::Bf16 => matrix.cast(FloatDType::BF16),
            Precision::Fp16 => matrix.cast(FloatDType::F16),
        }
    };
    let (a, b) = (matrix(), matrix());
    let product_s = median(arguments.repeats, || {
        let sum = to_f32(a.clone().matmul(b.clone()).sum());
        sum.try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))
    })?;
    let figures = json!({
        "device": open.name,
        "train_step_s": train_step_s,
        "train_peak_bytes": train_bytes,
        "train_peak_bytes_computed": computed.total(),
        "eval_step_s": eval_step_s,
        "eval_gflops": forward_operations(&config, arguments) / eval_step_s / 1e9,
        "matmul_gflops": 2.0 * (side as f64).powi(3) / product_s / 1e9,
    });
    println!("{figures}");
    Ok(())
}

/// A figure of this process's memory, in bytes; 0 where the system does not say.
fn resident_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Multiplications and additions in the matrix products of one forward pass.
fn forward_operations(config: &EncoderConfig, arguments: &Arguments) -> f64 {
    let [batch, tokens] = [arguments.batch, arguments.length].map(|size| size as f64);
    let [hidden, inner, layers] = [
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
    ]
    .map(|size| size as f64);
    let linear = 4.0 * hidden * hidden + 2.0 * hidden * inner;
    let attention = 2.0 * tokens * hidden;
    2.0 * batch * tokens * layers * (linear + attention)
}

/// Median seconds of `step`, after two runs that warm up.
fn median(repeats: usize, mut step: impl FnMut() -> Result<f32>) -> Result<f64> {
    for _ in 0..2 {
        step()?;
    }
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let began = Instant::now();
        step()?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
