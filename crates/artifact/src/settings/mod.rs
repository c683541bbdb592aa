//! Every key a pipeline file may hold, with its default and its bounds: a file a stage, which counts as that stage's
//! code alone, and here what several of them use.
//!
//! Types and unknown keys are refused by serde; values out of bounds by `problems`, which the runner
//! turns into messages with file and line. Names follow Hugging Face's where one exists.

mod answers;
mod checkpoint;
mod data;
mod device;
mod ensemble;
mod precision;
mod predict;
mod pretrain;
mod train;
mod windows;

use serde::{Deserialize, Serialize};

pub use answers::{AnswersSettings, Decoding, Fit, LengthLimit, Rule, RuleSettings, RuleSwitch};
pub use checkpoint::CheckpointSettings;
pub use data::{DataSettings, Fold, OnBadRecord};
pub use device::{Device, UnknownDevice};
pub use ensemble::{EnsembleMethod, EnsembleSettings};
pub use precision::{Precision, UnknownPrecision};
pub use predict::PredictSettings;
pub use pretrain::PretrainSettings;
pub use train::{DistillSettings, TrainSettings};
pub use windows::WindowsSettings;

/// A value that parses but cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, such as `train.learning_rate`.
    pub key: String,
    /// The value found.
    pub found: String,
    /// What would be accepted.
    pub allowed: String,
}

/// Collects problems of one settings table.
struct Checks(&'static str, Vec<Problem>);

impl Checks {
    fn require(&mut self, holds: bool, key: &str, found: impl ToString, allowed: &str) {
        if !holds {
            let key = format!("{}.{key}", self.0);
            self.1.push(Problem {
                key,
                found: found.to_string(),
                allowed: allowed.to_owned(),
            });
        }
    }

    fn batches(&mut self, batch_size: usize, micro_batch_size: usize) {
        self.require(batch_size >= 1, "batch_size", batch_size, "1 or more");
        self.require(
            (1..=batch_size.max(1)).contains(&micro_batch_size),
            "micro_batch_size",
            micro_batch_size,
            "1 to batch_size",
        );
    }

    fn optimizer(
        &mut self,
        learning_rate: f64,
        warmup_ratio: f64,
        weight_decay: f64,
        max_grad_norm: f64,
    ) {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        self.require(
            positive(learning_rate),
            "learning_rate",
            learning_rate,
            "more than 0",
        );
        self.require(
            (0.0..=1.0).contains(&warmup_ratio),
            "warmup_ratio",
            warmup_ratio,
            "0 to 1, a share of all steps",
        );
        self.require(
            weight_decay.is_finite() && weight_decay >= 0.0,
            "weight_decay",
            weight_decay,
            "0 or more",
        );
        self.require(
            positive(max_grad_norm),
            "max_grad_norm",
            max_grad_norm,
            "more than 0",
        );
    }
}

/// Where a training window lies around its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Uniform over all placements that contain the whole answer.
    Random,
    /// The answer in the middle, as in the course's sample program.
    Centered,
}

/// Learning rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to zero on a line.
    Linear,
    /// Falls to zero on half a cosine.
    Cosine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_own_bounds() {
        assert_eq!(WindowsSettings::default().problems(), []);
        assert_eq!(TrainSettings::default().problems(), []);
        assert_eq!(PretrainSettings::default().problems(), []);
        assert_eq!(PredictSettings::default().problems(), []);
        assert_eq!(AnswersSettings::default().problems(), []);
    }
}
