//! What `[pretrain]` may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem, Schedule, Settings};
use crate::questions::Split;

/// Continued masked-language-model pre-training on the task's own texts, before fine-tuning. The
/// stage runs only where `epochs` is not 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainTable {
    /// Passes over the questions, each with a window of its paragraph; 0: none.
    #[schemars(range(max = 10000))]
    pub epochs: usize,
    /// The splits whose questions and paragraphs are read; answers are not.
    #[schemars(length(min = 1))]
    pub splits: Vec<Split>,
    /// Inputs per optimizer step.
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
    /// Inputs of full length per forward pass, as in `[train]`; without it `batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub micro_batch_size: Option<usize>,
    /// Peak learning rate.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 10))]
    pub learning_rate: f64,
    /// How the learning rate changes after warm-up.
    pub schedule: Schedule,
    /// Share of all steps over which the learning rate rises linearly from zero.
    #[schemars(range(min = 0, max = 1))]
    pub warmup_ratio: f64,
    /// Decoupled weight decay; biases and layer norms are not decayed.
    #[schemars(range(min = 0, max = 100))]
    pub weight_decay: f64,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000_000))]
    pub max_grad_norm: f64,
    /// Share of the tokens to predict, most of which are masked.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub mlm_probability: f64,
    /// Most neighbouring tokens that are masked together; 1: each is masked by itself.
    #[schemars(range(min = 1, max = 1000))]
    pub longest_mask: usize,
    /// Number format of matrix products; without it that of `[train]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl Default for PretrainTable {
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

impl PretrainTable {
    /// Inputs of full length per forward pass.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size.unwrap_or(self.batch_size)
    }
}

impl Settings for PretrainTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("pretrain", self);
        checks.micro_batch(self.batch_size, self.micro_batch_size());
        checks.finish()
    }
}
