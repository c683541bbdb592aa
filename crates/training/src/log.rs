//! `training.jsonl`: one record per optimizer step and per evaluation.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use fs_err::File;
use serde::{Deserialize, Serialize};

/// The record of an optimizer step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Steps done, this one included.
    pub step: usize,
    /// Epoch of the step, counted from 1.
    pub epoch: usize,
    /// Mean training loss of the batch.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping; null where they overflowed and no step was
    /// taken.
    pub gradient_norm: f64,
    /// Factor on the loss in the backward pass, with precision fp16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Real tokens (padding not counted) trained on per second.
    pub tokens_per_second: f64,
}

impl Step {
    /// Returns what a progress bar shows of the step.
    pub fn note(&self) -> String {
        format!(
            "loss {:.3}, {:.0} tokens/s",
            self.loss, self.tokens_per_second
        )
    }
}

/// How good a model is on dev.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DevMetrics {
    /// Mean loss over dev windows that contain their answer.
    pub loss: f64,
    /// Share of dev questions whose answer is exact by the task's definition.
    pub exact_match: f64,
    /// Number of dev questions that were answered.
    pub questions: usize,
}

/// The record of an evaluation on dev.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps done.
    pub step: usize,
    /// Epoch of the last step, counted from 1.
    pub epoch: usize,
    /// As [`DevMetrics::loss`].
    pub dev_loss: f64,
    /// As [`DevMetrics::exact_match`].
    pub dev_exact_match: f64,
    /// As [`DevMetrics::questions`].
    pub dev_questions: usize,
}

/// Writes records as they come, so that a run can be watched.
pub struct TrainingLog {
    file: File,
    last_evaluation: Option<Evaluation>,
}

impl TrainingLog {
    /// Opens a log to append to, an empty one where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let text = fs_err::read_to_string(path)?;
        let mut lines = text.lines().rev();
        Ok(Self {
            file,
            last_evaluation: lines.find_map(|line| serde_json::from_str(line).ok()),
        })
    }

    /// Appends the record of a step.
    pub fn step(&mut self, step: Step) -> Result<()> {
        self.append(&step)
    }

    /// Appends and prints the record of an evaluation after `step` steps, in epoch number `epoch`.
    pub fn evaluation(&mut self, step: usize, epoch: usize, metrics: DevMetrics) -> Result<()> {
        let DevMetrics {
            loss,
            exact_match,
            questions,
        } = metrics;
        tracing::info!("step {step}: dev loss {loss:.3}, task exact match {exact_match:.3}");
        let evaluation = Evaluation {
            step,
            epoch,
            dev_loss: loss,
            dev_exact_match: exact_match,
            dev_questions: questions,
        };
        self.append(&evaluation)?;
        self.last_evaluation = Some(evaluation);
        Ok(())
    }

    /// Returns the record of the last evaluation.
    pub fn last_evaluation(&self) -> Option<&Evaluation> {
        self.last_evaluation.as_ref()
    }

    fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        Ok(())
    }
}
