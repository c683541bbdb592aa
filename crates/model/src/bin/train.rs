//! The train stage: windows and a checkpoint → a fine-tuned model in Hugging Face layout.

use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::module::Module;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::TrainSettings;
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Split, Stage, program};
use spanwise_model::config::EncoderConfig;
use spanwise_model::train::log::TrainingLog;
use spanwise_model::train::memory::TrainingMemory;
use spanwise_model::train::{Run, export};
use spanwise_model::{run, weights};
use spanwise_ops::device::has_kernels;

fn main() -> ExitCode {
    program::main(Stage::Train, train)
}

fn train(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: TrainSettings = job.settings()?;
    let seed = job.seed.unwrap_or(0);
    let device = run::open_device(job)?.autodiff();
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    let layout = run::read_layout(job, &config)?;
    let windows = job.input("windows")?;
    let train = WindowFile::open(windows, Split::Train)?
        .context("the windows artifact has no train split")?;
    let dev = WindowFile::open(windows, Split::Dev)?;
    let dev_questions = Questions::read(job.input("data")?, Split::Dev)?;

    device.seed(seed);
    let (model, initialised) = weights::load(checkpoint, &device)?;
    if !initialised.is_empty() {
        tracing::info!(
            "not in the checkpoint, so newly initialised: {}",
            initialised.join(", ")
        );
    }
    let precision = run::precision(settings.precision, &device);
    let memory = TrainingMemory::of(
        &config,
        settings.micro_batch_size(),
        layout.max_length,
        precision,
        settings.checkpoint_activations,
    );
    tracing::info!("memory: {}", memory.describe(has_kernels(&device)));
    let run = Run {
        settings: &settings,
        seed,
        device: &device,
        precision,
        layout: &layout,
        train: &train,
        dev: dev.as_ref().zip(dev_questions.as_ref()),
    };
    let mut log = TrainingLog::create(&draft.log_file("training.jsonl"))?;
    let model = run.train(model, &mut log)?;

    export::write(job, &model.valid(), &config, log.last_evaluation(), draft)
}
