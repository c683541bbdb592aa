//! The train stage: windows and a checkpoint → a fine-tuned model in Hugging Face layout.

use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::Device;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::ScoreFile;
use spanwise_artifact::settings::TrainJob;
use spanwise_artifact::{Draft, Job, Split, Stage, UserError};
use spanwise_model::memory::TrainingMemory;
use spanwise_model::{EncoderConfig, SpanModel, job, weights};
use spanwise_ops::device::{Implementation, implementation};
use spanwise_program as program;
use spanwise_train::{SpanTask, TrainingData, export};
use spanwise_training::stage;

fn main() -> ExitCode {
    program::main(Stage::Train, train)
}

fn train(job: &Job, draft: &mut Draft) -> Result<()> {
    let TrainJob {
        table: settings,
        distill,
    } = job.settings()?;
    if !settings.learns() {
        return take_over(job, draft);
    }
    let device = job::open_device(job, draft)?.autodiff();
    let precision = job::precision(settings.precision, &device, draft);
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    let layout = job::read_layout(job, &config)?;

    let train = job::open_windows(job, Split::Train, &config)?
        .ok_or_else(|| UserError::new("the windows artifact has no train split"))?;
    let dev = job::open_windows(job, Split::Dev, &config)?;
    let references = Questions::read(job.artifact("data")?, Split::Dev)?;
    let teacher = match job.inputs.get("teacher") {
        Some(teacher) => ScoreFile::open(&teacher.path, Split::Train)?,
        None => None,
    };
    let data = TrainingData {
        layout: &layout,
        train: &train,
        teacher: teacher.as_ref().zip(distill),
        dev: dev.as_ref().zip(references.as_ref()),
    };
    let task = SpanTask::new(data, &settings, &device, precision)?;
    let seed = job.seed.unwrap_or(0);
    let hyperparameters = task.hyperparameters(seed);

    device.seed(seed);
    let (model, initialised) = weights::load::<SpanModel>(checkpoint, &device)?;
    if !initialised.is_empty() {
        let names = initialised.join(", ");
        tracing::info!("not in the checkpoint, so newly initialised: {names}");
    }
    let memory = TrainingMemory::of(
        &config,
        hyperparameters.micro_batch_size,
        layout.max_length,
        precision,
        settings.gradient_checkpointing,
    );
    tracing::info!(
        "memory: {}",
        memory.describe(implementation(&device) != Implementation::Compositions)
    );

    let trained = stage::train(job, draft, &task, &hyperparameters, model, &device)?;
    let kept = Some(trained.kept());
    let learned_no_answer = train.has_unanswerable();
    export::write(
        job,
        &trained.model(),
        &config,
        kept,
        learned_no_answer,
        draft,
    )
}

/// Without training, the model is the checkpoint: the same weights, with the head that it has.
fn take_over(job: &Job, draft: &mut Draft) -> Result<()> {
    let checkpoint = job.input("checkpoint")?;
    let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
    // Nothing is computed.
    let (model, missing) = weights::load::<SpanModel>(checkpoint, &Device::flex())?;
    EncoderConfig::refuse_headless(&missing)?;
    tracing::info!("train.epochs = 0: the model is the checkpoint as it is");
    export::write(job, &model, &config, None, false, draft)
}
