//! The training loop, for whatever a [`Task`] learns.
//!
//! [`train`] is the loop. Its parts, in the order in which a step meets them:
//!
//! - [`hyperparameters`], [`schedule`]: how far a run is, and the learning rate there
//! - [`state`]: what a run changes as it goes, saved so that an interrupted run resumes
//! - [`task`], [`batches`], [`seed`], [`mask`]: what is learned, in which order
//! - [`backward`]: from a batch to its gradients, in micro-batches
//! - [`optimizer`], [`scaler`], [`average`]: clipping, AdamW, loss scaling, averaged weights
//! - `best`: the weights of the best evaluation
//! - `step`, [`log`]: what a run reports
//!
//! [`stage`] runs it for a stage's job.

#![warn(missing_docs)]

pub mod average;
pub mod backward;
pub mod batches;
mod best;
pub mod hyperparameters;
pub mod log;
pub mod mask;
pub mod optimizer;
pub mod scaler;
pub mod schedule;
pub mod seed;
pub mod stage;
pub mod state;
mod step;
pub mod task;

use std::time::Instant;

use anyhow::Result;
use spanwise_model::EncoderModel;
use spanwise_program::progress::Progress;

pub use crate::batches::Batches;
pub use crate::hyperparameters::Hyperparameters;
pub use crate::log::TrainingLog;
pub use crate::seed::derive_seed;
pub use crate::state::RunState;
pub use crate::task::{BackwardPass, MicroBatch, Task};

use crate::log::{End, Evaluation};
use crate::step::{KnownStep, PendingStep};

/// Trains `run` on `task`, from its first step or from where it was interrupted, to its end.
///
/// `save` is called with the run before every step and once at the end. An evaluation that is due
/// follows it, so that a resumed run repeats the evaluation and not the step.
///
/// Nothing within a step waits for the device: what it computes of a step is read when the next one
/// is on its way, and before whatever is saved or measured.
pub fn train<T: Task>(
    task: &T,
    hyperparameters: &Hyperparameters,
    run: &mut RunState<T::Model>,
    log: &mut TrainingLog,
    mut save: impl FnMut(&mut RunState<T::Model>, &mut TrainingLog) -> Result<()>,
) -> Result<()> {
    let mut batches = Batches::new(task, hyperparameters);
    let steps_per_epoch = batches.per_epoch();
    let steps = hyperparameters.epochs * steps_per_epoch;
    tracing::info!("{}, {steps} steps", task.described());
    // What would fail after an epoch should fail now.
    task.check(&run.model)?;

    let mut position = hyperparameters.position(run.step, run.seconds, steps);
    let progress = match hyperparameters.max_minutes {
        // Where the clock sets the pace, a step is more than one place in the schedule.
        Some(_) => Progress::share(T::NAME, steps),
        None => Progress::new(T::NAME, steps),
    };
    let mut progress = progress.behind(position as usize);
    loop {
        let learning_rate = hyperparameters.learning_rate(position, steps);
        let is_over = position >= steps as f64;

        save(run, log)?;
        let is_due = is_over || hyperparameters.evaluates_after(run.step, steps_per_epoch);
        if is_due && run.step > 0 {
            run.report(log)?;
            let epoch = run.step.div_ceil(steps_per_epoch);
            if let Err(error) = evaluate(task, run, epoch, log) {
                // Where a signal has ended it, the run is saved as it was before.
                save(run, log)?;
                return Err(error);
            }
        }
        if is_over || run.is_out_of_patience() {
            break;
        }

        let batch = batches.at(run.step);
        let start = Instant::now();
        let seed = derive_seed(hyperparameters.seed, run.step as u64);
        let loss_scale = run.scaler.as_ref().map(|scaler| scaler.scale().clone());
        let scale = loss_scale.as_ref();
        let pass = backward::batch(task, hyperparameters, &run.model, batch, seed, scale);

        let max_norm = hyperparameters.max_grad_norm;
        let gradients = optimizer::clip(&run.model, pass.gradients, max_norm, scale);
        let gradient_norm = gradients.norm();

        run.update(gradients, learning_rate);
        let seconds = start.elapsed().as_secs_f64();
        run.seconds += seconds;
        if let Some(before) = run.report(log)? {
            progress.note(before.note());
        }
        run.report_later(PendingStep {
            known: KnownStep {
                step: run.step,
                epoch: run.step.div_ceil(steps_per_epoch),
                learning_rate,
                tokens: pass.tokens,
                seconds,
            },
            loss: pass.loss,
            gradient_norm,
            loss_scale,
        });
        let next = hyperparameters.position(run.step, run.seconds, steps);
        progress.advance(next as usize - position as usize);
        position = next;
    }
    if run.step < steps {
        tracing::warn!(
            "stopped by {}.{} after {} of {steps} steps, {:.1} of {} epochs",
            T::NAME,
            if run.is_out_of_patience() {
                "early_stopping_patience"
            } else {
                "max_minutes"
            },
            run.step,
            run.step as f64 / steps_per_epoch as f64,
            hyperparameters.epochs
        );
    }
    end(run, log)
}

/// Measures the run where the task has a measure, and lets it keep its weights if they are its best.
fn evaluate<T: Task>(
    task: &T,
    run: &mut RunState<T::Model>,
    epoch: usize,
    log: &mut TrainingLog,
) -> Result<()> {
    let start = Instant::now();
    let Some(metrics) = task.evaluate(run.candidate())? else {
        return Ok(());
    };
    let evaluation = Evaluation {
        step: run.step,
        epoch,
        dev_loss: metrics.loss,
        dev_exact_match: metrics.exact_match,
        dev_questions: metrics.questions,
        seconds: start.elapsed().as_secs_f64(),
    };
    log.evaluation(&evaluation)?;
    run.consider(evaluation);
    Ok(())
}

/// Says which weights are kept, and what evaluations took.
fn end<M: EncoderModel>(run: &RunState<M>, log: &mut TrainingLog) -> Result<()> {
    let best = run.best_evaluation();
    if let Some(best) = best {
        tracing::info!(
            "kept the model of step {} of {}, which is the best by task exact match on dev, {:.3}: \
             chosen on these questions, it measures better on them than on others",
            best.step,
            run.step,
            best.dev_exact_match
        );
    }
    if run.evaluation_seconds > 0.0 {
        tracing::info!(
            "{:.1} s of steps, {:.1} s of evaluations",
            run.seconds,
            run.evaluation_seconds
        );
    }
    log.end(&End {
        step: run.step,
        kept_step: best.map_or(run.step, |best| best.step),
        training_seconds: run.seconds,
        evaluation_seconds: run.evaluation_seconds,
    })
}
