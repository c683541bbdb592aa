//! The train stage: windows and a checkpoint → a fine-tuned model in Hugging Face layout.

use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::module::Module;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::ScoreFile;
use spanwise_artifact::settings::TrainJob;
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Split, Stage};
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::SpanModel;
use spanwise_model::memory::TrainingMemory;
use spanwise_model::{job, weights};
use spanwise_ops::device::has_kernels;
use spanwise_program as program;
use spanwise_train::{Run, export};
use spanwise_training::log::TrainingLog;
use spanwise_training::optimizer::OptimizerSettings;
use spanwise_training::state::{SavedState, Training};

fn main() -> ExitCode {
    program::main(Stage::Train, train)
}

fn train(job: &Job, draft: &mut Draft) -> Result<()> {
    let TrainJob {
        table: settings,
        distill,
    } = job.settings()?;
    let seed = job.seed.unwrap_or(0);
    let device = job::open_device(job)?.autodiff();
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    let layout = job::read_layout(job, &config)?;
    let windows = job.input("windows")?;
    let train = WindowFile::open(windows, Split::Train)?
        .context("the windows artifact has no train split")?;
    let dev = WindowFile::open(windows, Split::Dev)?;
    let dev_questions = Questions::read(job.input("data")?, Split::Dev)?;

    let teacher = match job.inputs.get("teacher") {
        Some(teacher) => ScoreFile::open(&teacher.path, Split::Train)?,
        None => None,
    };

    device.seed(seed);
    let (model, initialised) = weights::load::<SpanModel>(checkpoint, &device)?;
    if !initialised.is_empty() {
        tracing::info!(
            "not in the checkpoint, so newly initialised: {}",
            initialised.join(", ")
        );
    }
    let precision = job::precision(settings.precision, &device);
    let memory = TrainingMemory::of(
        &config,
        settings.micro_batch_size(),
        layout.max_length,
        precision,
        settings.gradient_checkpointing,
    );
    tracing::info!("memory: {}", memory.describe(has_kernels(&device)));
    let run = Run {
        settings: &settings,
        seed,
        device: &device,
        precision,
        layout: &layout,
        train: &train,
        teacher: teacher.as_ref().zip(distill),
        dev: dev.as_ref().zip(dev_questions.as_ref()),
    };
    let log_path = draft.log_file("training.jsonl");
    let optimizer = OptimizerSettings {
        weight_decay: settings.weight_decay,
        max_grad_norm: settings.max_grad_norm,
        layer_decay: settings.layer_decay,
        layers: model.encoder.layers.len(),
    };
    let mut training = Training::new(model, optimizer, settings.ema, precision);
    let mut state = SavedState::of(job)?;
    state.restore(&mut training, &log_path, &device)?;
    draft.add_seconds(training.seconds);
    let mut log = TrainingLog::open(&log_path)?;
    run.train(&mut training, &mut log, |training| {
        state.save_if_due(training, &checkpoint.join("config.json"), &log_path)
    })?;
    export::write(
        job,
        &training.result().valid(),
        &config,
        log.last_evaluation(),
        draft,
    )?;
    state.remove()
}
