//! `training.jsonl`: one record per optimizer step and per evaluation, and one of the run's end.

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Seconds that it took.
    pub seconds: f64,
}

/// The record of a run's end.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// Steps done.
    pub step: usize,
    /// Steps after which the weights that are kept were the model's.
    pub kept_step: usize,
    /// Seconds of all steps together.
    pub training_seconds: f64,
    /// Seconds of all evaluations together.
    pub evaluation_seconds: f64,
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
    pub fn step(&mut self, step: &Step) -> Result<()> {
        self.append(step)
    }

    /// Appends and prints the record of an evaluation.
    pub fn evaluation(&mut self, evaluation: &Evaluation) -> Result<()> {
        tracing::info!(
            "step {}: dev loss {:.3}, task exact match {:.3} on {} questions, in {:.1} s",
            evaluation.step,
            evaluation.dev_loss,
            evaluation.dev_exact_match,
            evaluation.dev_questions,
            evaluation.seconds
        );
        self.append(evaluation)?;
        self.last_evaluation = Some(evaluation.clone());
        Ok(())
    }

    /// Appends the record of the run's end.
    pub fn end(&mut self, end: &End) -> Result<()> {
        self.append(end)
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
