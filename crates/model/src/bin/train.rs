//! The train stage: windows and a checkpoint → a fine-tuned model in Hugging Face layout.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::module::Module;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::TrainSettings;
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Split, Stage, program};
use spanwise_model::config::EncoderConfig;
use spanwise_model::train::log::TrainingLog;
use spanwise_model::train::memory::TrainingMemory;
use spanwise_model::train::state::{SavedState, Training};
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
    let log_path = draft.log_file("training.jsonl");
    let mut training = Training::new(model, &settings, precision);
    let state = saved_state(job)?;
    if state.restore(&mut training, &log_path, &device)? {
        tracing::info!(
            "going on after step {}, where it was interrupted",
            training.step
        );
    }
    let mut log = TrainingLog::open(&log_path)?;
    let mut saved = Instant::now();
    run.train(&mut training, &mut log, |training| {
        if saved.elapsed() >= SAVE_INTERVAL {
            state.save(training, &checkpoint.join("config.json"), &log_path)?;
            saved = Instant::now();
        }
        Ok(())
    })?;
    export::write(
        job,
        &training.model.valid(),
        &config,
        log.last_evaluation(),
        draft,
    )?;
    state.remove()
}

/// What is lost at most when a run is interrupted.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// The state of this job's run, beside the artifact that it is to become.
fn saved_state(job: &Job) -> Result<SavedState> {
    let name = job
        .output
        .file_name()
        .context("the output directory has no name")?;
    let directory = format!(".state-{}", name.to_string_lossy());
    let identity = serde_json::json!({
        "settings": job.settings,
        "seed": job.seed,
        "inputs": job.input_contents()?,
        "code": job.code,
    });
    Ok(SavedState::new(
        job.output.with_file_name(directory),
        identity,
    ))
}
