//! What the stages that train a checkpoint share.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use spanwise_artifact::{Draft, Job, Manifest, draft};
use spanwise_model::EncoderModel;
use spanwise_program::signals;

use crate::hyperparameters::Hyperparameters;
use crate::log::{Evaluation, TrainingLog};
use crate::state::{RunState, SavedState};
use crate::task::Task;

/// A finished run. Its saved state stands until the artifact does.
pub struct Trained<M> {
    run: RunState<M>,
    log: TrainingLog,
}

/// Trains `model`, the job's checkpoint on `device`, from its beginning or from where an earlier
/// start of the same job was interrupted.
pub fn train<T: Task>(
    job: &Job,
    draft: &mut Draft,
    task: &T,
    hyperparameters: &Hyperparameters,
    model: T::Model,
    device: &Device,
) -> Result<Trained<T::Model>> {
    let config = job.input("checkpoint")?.join("config.json");
    let log = draft.log_file("training.jsonl");
    let mut run = RunState::new(model, hyperparameters);
    let mut state = SavedState::of(job, config, log.clone())?;
    state.restore(&mut run, device)?;
    draft.add_seconds(run.seconds);
    let mut log = TrainingLog::open(&log)?;
    signals::keep()?;
    let save = |run: &RunState<T::Model>| {
        if signals::is_kept() {
            state.save(run)?;
            signals::check(&format!(" after step {}, which is saved", run.step))?;
        }
        state.save_if_due(run);
        Ok(())
    };
    crate::train(task, hyperparameters, &mut run, &mut log, save)?;
    Ok(Trained { run, log })
}

impl<M: EncoderModel> Trained<M> {
    /// Returns the model, which records no gradients any more.
    pub fn model(&self) -> M {
        self.run.result().valid()
    }

    /// Returns the record of the last evaluation.
    pub fn last_evaluation(&self) -> Option<&Evaluation> {
        self.log.last_evaluation()
    }
}

/// Copies a checkpoint's files, except those named in `except`, into an artifact.
pub fn copy_checkpoint(checkpoint: &Path, draft: &Draft, except: &[&str]) -> Result<()> {
    for entry in fs_err::read_dir(checkpoint)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != Manifest::FILE && !except.contains(&name.as_str()) {
            draft::copy(&entry.path(), &draft.file(&name))?;
        }
    }
    Ok(())
}
