//! The pretrain stage: a checkpoint and the task's texts → the checkpoint, more at home in these texts.

use std::process::ExitCode;

use anyhow::Result;
use burn::module::Module;
use spanwise_artifact::settings::{Precision, PretrainTable};
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Stage};
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::MaskedModel;
use spanwise_model::{job, weights};
use spanwise_pretrain::Run;
use spanwise_program as program;
use spanwise_training::checkpoint;
use spanwise_training::log::TrainingLog;
use spanwise_training::optimizer::OptimizerSettings;
use spanwise_training::state::{SavedState, Training};

fn main() -> ExitCode {
    program::main(Stage::Pretrain, pretrain)
}

fn pretrain(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: PretrainTable = job.settings()?;
    let seed = job.seed.unwrap_or(0);
    let device = job::open_device(job)?.autodiff();
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    let layout = job::read_layout(job, &config)?;
    let windows = job.input("windows")?;
    let mut files = Vec::new();
    for &split in &settings.splits {
        files.extend(WindowFile::open(windows, split)?);
    }

    device.seed(seed);
    let (model, made) = weights::load::<MaskedModel>(checkpoint, &device)?;
    if !made.is_empty() {
        // Encoders that were trained for retrieval since know nothing of masks: one lost a third of its later answers.
        tracing::warn!(
            "the checkpoint has no head for masked language modelling, and its encoder may have been trained for \
             something else since; compare with pretrain.epochs = 0. Newly initialised: {}",
            made.join(", ")
        );
    }
    let precision = settings.precision.unwrap_or(Precision::Fp32);
    let precision = job::precision(precision, &device);
    let run = Run {
        settings: &settings,
        seed,
        device: &device,
        precision,
        layout: &layout,
        files: &files,
    };
    let optimizer = OptimizerSettings::uniform(settings.weight_decay, settings.max_grad_norm);
    let mut training = Training::new(model, optimizer, 0.0, precision);
    let log_path = draft.log_file("training.jsonl");
    let mut state = SavedState::of(job)?;
    state.restore(&mut training, &log_path, &device)?;
    draft.add_seconds(training.seconds);
    let mut log = TrainingLog::open(&log_path)?;
    run.train(&mut training, &mut log, |training| {
        state.save_if_due(training, &checkpoint.join("config.json"), &log_path)
    })?;

    // Everything but the weights is the checkpoint's.
    checkpoint::copy_files(checkpoint, draft, &["model.safetensors"])?;
    let weights_path = draft.file("model.safetensors");
    weights::save(&training.model.valid(), &config, &weights_path)?;
    state.remove()
}
