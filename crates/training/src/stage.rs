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
    let mut state = SavedState::of(job, hyperparameters.precision, config, log.clone())?;
    state.restore(&mut run, device)?;
    draft.add_seconds(run.seconds + run.evaluation_seconds);
    let mut log = TrainingLog::open(&log)?;
    signals::keep()?;
    let save = |run: &mut RunState<T::Model>, log: &mut TrainingLog| {
        if signals::is_kept() {
            state.save(run, log)?;
            signals::check(&format!(" after step {}, which is saved", run.step))?;
        }
        state.save_if_due(run, log)
    };
    crate::train(task, hyperparameters, &mut run, &mut log, save)?;
    Ok(Trained { run, log })
}

/// Which weights of a run are kept, for people.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// Steps that the run has done.
    pub steps: usize,
    /// How good the weights are; `None` where nothing was measured.
    pub evaluation: Option<&'a Evaluation>,
    /// Whether they are those of the best evaluation, and not the last ones.
    pub is_best: bool,
}

impl<M: EncoderModel> Trained<M> {
    /// Returns the model, which records no gradients any more.
    pub fn model(&self) -> M {
        self.run.result().valid()
    }

    /// Returns which weights the model has.
    pub fn kept(&self) -> Kept<'_> {
        let best = self.run.best_evaluation();
        Kept {
            steps: self.run.step,
            evaluation: best.or(self.log.last_evaluation()),
            is_best: best.is_some(),
        }
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
