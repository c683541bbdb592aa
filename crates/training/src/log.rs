//! `training.jsonl`: one record per optimizer step and per evaluation.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use fs_err::File;
use serde::{Deserialize, Serialize};

/// A line of `training.jsonl`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// After an optimizer step.
    Step {
        /// Steps done.
        step: usize,
        /// Epochs begun.
        epoch: usize,
        /// Mean training loss of the batch.
        loss: f64,
        /// Used for the step.
        learning_rate: f64,
        /// Global norm of the gradients before clipping; null where they overflowed and no step was taken.
        gradient_norm: f64,
        /// Factor on the loss in the backward pass, with precision fp16.
        #[serde(skip_serializing_if = "Option::is_none")]
        loss_scale: Option<f64>,
        /// Real tokens (padding not counted) trained on per second.
        tokens_per_second: f64,
    },
    /// After an evaluation on dev.
    Evaluation(Evaluation),
}

/// How good the model is on dev.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps done.
    pub step: usize,
    /// Epochs begun.
    pub epoch: usize,
    /// Mean loss over dev windows that contain their answer.
    pub dev_loss: f64,
    /// Share of dev questions answered with exactly a reference answer.
    pub dev_exact_match: f64,
    /// Dev questions evaluated.
    pub dev_questions: usize,
}

/// Writes records as they come, so that a run can be watched.
pub struct TrainingLog {
    file: File,
    last_evaluation: Option<Evaluation>,
}

impl TrainingLog {
    /// Goes on with a log, or starts an empty one.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let text = fs_err::read_to_string(path)?;
        let mut lines = text.lines().rev();
        Ok(Self {
            file,
            last_evaluation: lines.find_map(|line| serde_json::from_str(line).ok()),
        })
    }

    /// Appends a record.
    pub fn push(&mut self, record: Record) -> Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if let Record::Evaluation(evaluation) = record {
            self.last_evaluation = Some(evaluation);
        }
        Ok(())
    }

    /// The evaluation appended last.
    pub fn last_evaluation(&self) -> Option<&Evaluation> {
        self.last_evaluation.as_ref()
    }
}
