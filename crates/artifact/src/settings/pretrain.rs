//! What `[pretrain]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem, Schedule};
use crate::questions::Split;

/// `[pretrain]`: going on with masked language modelling on the task's own texts before fine-tuning. Off unless it
/// has epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainSettings {
    /// Passes over the questions, each with a window of its paragraph; 0: the stage does not run.
    pub epochs: usize,
    /// The splits whose texts are read. No answer is.
    pub splits: Vec<Split>,
    /// Inputs per optimizer step.
    pub batch_size: usize,
    /// Inputs per forward pass, as `train.micro_batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// How the learning rate falls after warm-up.
    pub schedule: Schedule,
    /// Share of all steps over which the learning rate rises linearly from zero.
    pub warmup_ratio: f64,
    /// Decoupled weight decay; biases and layer norms are spared.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    pub max_grad_norm: f64,
    /// Share of the tokens to guess.
    pub mlm_probability: f64,
    /// Neighbours are masked together, up to so many; 1: every token by itself.
    pub longest_mask: usize,
    /// Number format of matrix products. Default: as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        Self {
            epochs: 0,
            splits: Split::ALL.to_vec(),
            batch_size: 32,
            micro_batch_size: None,
            learning_rate: 1e-4,
            schedule: Schedule::Linear,
            warmup_ratio: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            mlm_probability: 0.15,
            longest_mask: 3,
            precision: None,
        }
    }
}

impl PretrainSettings {
    /// Inputs of full length per forward pass.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size.unwrap_or(self.batch_size)
    }

    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("pretrain", Vec::new());
        checks.batches(self.batch_size, self.micro_batch_size());
        checks.optimizer(
            self.learning_rate,
            self.warmup_ratio,
            self.weight_decay,
            self.max_grad_norm,
        );
        checks.require(
            self.mlm_probability > 0.0 && self.mlm_probability < 1.0,
            "mlm_probability",
            self.mlm_probability,
            "more than 0 and less than 1",
        );
        checks.require(
            self.longest_mask >= 1,
            "longest_mask",
            self.longest_mask,
            "1 or more tokens",
        );
        checks.require(
            !self.splits.is_empty(),
            "splits",
            "[]",
            "train, dev, test or several of them",
        );
        checks.1
    }
}
