//! The pretrain stage: a checkpoint and the task's texts → the checkpoint, adapted to these texts.

use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::settings::{Precision, PretrainTable};
use spanwise_artifact::{Draft, Job, Stage};
use spanwise_model::EncoderConfig;
use spanwise_model::MaskedModel;
use spanwise_model::{job, weights};
use spanwise_pretrain::MaskedTask;
use spanwise_program as program;
use spanwise_training::stage;

fn main() -> ExitCode {
    program::main(Stage::Pretrain, pretrain)
}

fn pretrain(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: PretrainTable = job.settings()?;
    let device = job::open_device(job, draft)?.autodiff();
    let precision = job::precision(
        settings.precision.unwrap_or(Precision::Fp32),
        &device,
        draft,
    );
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    let layout = job::read_layout(job, &config)?;

    let mut files = Vec::new();
    for &split in &settings.splits {
        files.extend(job::open_windows(job, split, &config)?);
    }
    let task = MaskedTask::new(&settings, &device, &layout, &files)?;
    let seed = job.seed.unwrap_or(0);
    let hyperparameters = task.hyperparameters(seed, precision);

    device.seed(seed);
    let (model, initialised) = weights::load::<MaskedModel>(checkpoint, &device)?;
    if !initialised.is_empty() {
        // An encoder trained for retrieval since then lost a third of its later answers this way.
        tracing::warn!(
            "the checkpoint has no head for masked language modelling, and its encoder may have \
             been trained for something else since; compare with pretrain.epochs = 0. Newly \
             initialised: {}",
            initialised.join(", ")
        );
    }

    let trained = stage::train(job, draft, &task, &hyperparameters, model, &device)?;
    // Everything but the weights is the checkpoint's.
    stage::copy_checkpoint(checkpoint, draft, &["model.safetensors"])?;
    let path = draft.file("model.safetensors");
    weights::save(&trained.model(), &config, &path)
}
