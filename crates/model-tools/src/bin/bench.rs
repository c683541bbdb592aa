//! Times a training step and an evaluation pass on random input, as one JSON line. `cargo xtask
//! bench` runs it in turns with another implementation.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use clap::Parser;
use serde_json::{Value, json};
use spanwise_artifact::UserError;
use spanwise_artifact::settings;
use spanwise_model::batch::Batch;
use spanwise_model::memory::TrainingMemory;
use spanwise_model::pair_template::Row;
use spanwise_model::{EncoderConfig, EncoderModel, SpanModel, job, weights};
use spanwise_ops::{Precision, device, to_f32};
use spanwise_program as program;
use spanwise_program::measure::{Memory, median};
use spanwise_train::loss::{Boundaries, Targets};
use spanwise_training::backward::Pass;
use spanwise_training::optimizer::{self, AdamW, OptimizerSettings};

#[derive(Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[command(about = "Times a training step and an evaluation pass on random input")]
struct Arguments {
    /// Directory in Hugging Face layout. Without weights, random ones are written there first
    #[arg(long)]
    checkpoint: PathBuf,
    /// Rows of the input
    #[arg(long, default_value = "8")]
    batch: NonZeroUsize,
    /// Tokens of every row
    #[arg(long, default_value = "384")]
    length: NonZeroUsize,
    /// Number format of matrix products: auto, fp32, bf16 or fp16
    #[arg(long, default_value = "fp32")]
    precision: settings::Precision,
    /// Let a GPU multiply numbers of fp32 with a tenth of their precision, many times as fast
    #[arg(long)]
    tf32: bool,
    /// Recompute activations in the backward pass in place of keeping them
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Device: auto, cpu, cuda, cuda:N, mps or flex
    #[arg(long, default_value = "auto")]
    device: settings::Device,
    /// Timed runs, after two that are not
    #[arg(long, default_value = "5")]
    repeats: NonZeroUsize,
    /// Let rows of the second half of the batch end 16, 32, … tokens early
    #[arg(long)]
    padded: bool,
    /// Write which operators and kernels of a GPU run in one training step to this file, as a Chrome
    /// trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Leave out the evaluation pass and the plain product
    #[arg(long)]
    train_only: bool,
}

/// Position of the first row's answer. Every row's is a little further on.
const FIRST_ANSWER: usize = 40;

/// Tokens before the paragraph.
const QUESTION: usize = 30;

/// Ids below are special tokens in most vocabularies.
const FIRST_ID: usize = 110;

/// Rows and columns of the matrices whose product is timed for comparison: enough to fill a CPU, and
/// a GPU.
const SIDES: [usize; 2] = [2048, 8192];

/// Tokens by which the next row of padded input is shorter.
const PADDING_STEP: usize = 16;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::report(&error),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let open = device::open(arguments.device)?;
    if arguments.tf32 {
        device::allow_tf32();
    }
    if arguments.precision == settings::Precision::Bf16 && !device::has_bf16(&open.device) {
        // Training would not use it either, and emulated steps take minutes.
        let left_out = json!({"device": open.name, "left_out": true});
        writeln!(program::output::results(), "{left_out}")?;
        return Ok(());
    }
    let config = EncoderConfig::read(&arguments.checkpoint.join("config.json"))?;
    ensure!(
        arguments.length.get() <= config.max_tokens(),
        UserError::new(format!(
            "--length = {}: must be at most {}, the longest input of the checkpoint",
            arguments.length,
            config.max_tokens()
        ))
    );
    let bench = Bench {
        arguments,
        config,
        precision: job::supported(arguments.precision, &open.device),
        device: open.device,
    };
    let mut figures = bench.training()?;
    figures["device"] = open.name.into();
    if !arguments.train_only {
        let eval_step_s = bench.evaluation()?;
        figures["eval_step_s"] = eval_step_s.into();
        figures["eval_gflops"] = (bench.forward_operations() / eval_step_s / 1e9).into();
        figures["eval_peak_bytes"] = device::peak_memory(&bench.device).into();
        figures["matmul_gflops"] = (bench.product()? / 1e9).into();
    }
    writeln!(program::output::results(), "{figures}")?;
    Ok(())
}

/// What is measured.
struct Bench<'a> {
    arguments: &'a Arguments,
    config: EncoderConfig,
    precision: Precision,
    /// Records no gradients.
    device: Device,
}

impl Bench<'_> {
    /// Returns the seconds of a training step, and the memory that training took and should take.
    fn training(&self) -> Result<Value> {
        let Arguments {
            batch,
            length,
            gradient_checkpointing,
            ..
        } = *self.arguments;
        let precision = self.precision;
        let device = self.device.clone().autodiff();
        device.seed(0);
        write_random_weights(&self.arguments.checkpoint, &self.config, &device)?;
        let memory_before = Memory::Resident.of_this_process();
        let (mut model, _) = weights::load::<SpanModel>(&self.arguments.checkpoint, &device)?;
        let mut optimizer = AdamW::new(OptimizerSettings::uniform(0.01));
        let input = self.input(&device);
        let targets = Targets::new(&self.answers(), 0.0, &input.mask);
        device::peak_memory(&self.device);
        let mut step = || {
            let mut gradients = GradientsAccumulator::new();
            let pass = Pass {
                model: &model,
                input: &input,
                precision,
                seed: 0,
                gradient_checkpointing,
            };
            let loss = |hidden| targets.boundary_loss(&model.logits(hidden)).mean();
            let loss = pass.run(loss, &mut gradients);
            let gradients = optimizer::clip(&model, gradients.grads(), 1.0, None);
            model = optimizer.step(model.clone(), gradients, 3e-5);
            scalar(loss)
        };
        let seconds = self.time(&mut step)?;
        let taken = if device::is_cpu(&self.device) {
            Memory::Peak.of_this_process().saturating_sub(memory_before)
        } else {
            device::peak_memory(&self.device)
        };
        if let Some(path) = &self.arguments.trace {
            device::trace(&device, path, step)??;
        }
        let computed = TrainingMemory::of(
            &self.config,
            batch.get(),
            length.get(),
            precision,
            gradient_checkpointing,
        );
        Ok(json!({
            "train_step_s": seconds,
            // The backward pass takes twice the operations of the forward pass.
            "train_tflops": 3.0 * self.forward_operations() / seconds / 1e12,
            "train_peak_bytes": taken,
            "train_peak_bytes_computed": computed.total(),
        }))
    }

    /// Returns the seconds of a forward pass.
    fn evaluation(&self) -> Result<f64> {
        let (model, _) = weights::load::<SpanModel>(&self.arguments.checkpoint, &self.device)?;
        let input = self.input(&self.device);
        self.time(|| {
            let logits = model.forward(&input, self.precision);
            scalar(logits.start.sum() + logits.end.sum())
        })
    }

    /// Returns the operations a second of a plain matrix product.
    fn product(&self) -> Result<f64> {
        let [cpu, gpu] = SIDES;
        let side = if device::is_cpu(&self.device) {
            cpu
        } else {
            gpu
        };
        let matrix = || {
            let matrix = Tensor::<2>::random([side, side], Distribution::Default, &self.device);
            match self.precision {
                Precision::Fp32 => matrix,
                Precision::Bf16 => matrix.cast(FloatDType::BF16),
                Precision::Fp16 => matrix.cast(FloatDType::F16),
            }
        };
        let (a, b) = (matrix(), matrix());
        let seconds = self.time(|| {
            // Reading one element waits for all of them.
            scalar(to_f32(a.clone().matmul(b.clone()).slice([0..1, 0..1])).reshape([1]))
        })?;
        Ok(2.0 * (side as f64).powi(3) / seconds)
    }

    /// Returns the number of tokens of every row.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let Arguments {
            batch,
            length,
            padded,
            ..
        } = *self.arguments;
        let first_padded = batch.get() / 2;
        (0..batch.get()).map(move |row| match row.checked_sub(first_padded) {
            Some(behind) if padded => {
                let padding = (behind + 1) * PADDING_STEP;
                length.get().saturating_sub(padding).max(1)
            }
            _ => length.get(),
        })
    }

    /// Returns random rows.
    fn input(&self, device: &Device) -> Batch {
        let vocabulary = self.config.vocab_size;
        let first = FIRST_ID.min(vocabulary - 1);
        let has_types = self.config.type_vocab_size > 1;
        let row = |(row, length): (usize, usize)| -> Row {
            let id =
                |position: usize| first + (row * 7919 + position * 104_729) % (vocabulary - first);
            (0..length)
                .map(|position| {
                    let token_type = u32::from(has_types && position >= QUESTION);
                    (id(position) as u32, token_type)
                })
                .unzip()
        };
        let rows: Vec<Row> = self.lengths().enumerate().map(row).collect();
        Batch::new(&rows, self.arguments.length.get(), 0, device)
    }

    /// Returns an answer in every row.
    fn answers(&self) -> Vec<Boundaries> {
        let answer = |(row, length): (usize, usize)| {
            let start = (FIRST_ANSWER + 3 * row) % length;
            Boundaries {
                answer: start..(start + 6).min(length),
                rows: 1,
            }
        };
        self.lengths().enumerate().map(answer).collect()
    }

    /// Returns the multiplications and additions in the matrix products of a forward pass, without
    /// those of padding.
    fn forward_operations(&self) -> f64 {
        let [hidden, inner, layers] = [
            self.config.hidden_size,
            self.config.intermediate_size,
            self.config.num_hidden_layers,
        ]
        .map(|size| size as f64);
        let linear = 4.0 * hidden * hidden + 2.0 * hidden * inner;
        let row = |tokens: f64| tokens * (linear + 2.0 * tokens * hidden);
        let rows: f64 = self.lengths().map(|length| row(length as f64)).sum();
        2.0 * layers * rows
    }

    /// Returns the median seconds of `step`, after two runs that warm up.
    fn time(&self, mut step: impl FnMut() -> Result<f32>) -> Result<f64> {
        for _ in 0..2 {
            step()?;
        }
        let mut seconds = Vec::with_capacity(self.arguments.repeats.get());
        for _ in 0..self.arguments.repeats.get() {
            let start = Instant::now();
            step()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        median(&seconds).context("no run was timed")
    }
}

/// Writes random weights to a checkpoint without any.
fn write_random_weights(checkpoint: &Path, config: &EncoderConfig, device: &Device) -> Result<()> {
    let path = checkpoint.join("model.safetensors");
    if !path.exists() {
        weights::save(&SpanModel::new(config, device).valid(), config, &path)?;
    }
    Ok(())
}

/// Reads a tensor of one element, which waits for the device.
fn scalar(tensor: Tensor<1>) -> Result<f32> {
    let value = tensor.try_into_scalar::<f32>();
    value.map_err(|error| anyhow!("{error:?}"))
}
