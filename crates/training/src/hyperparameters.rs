//! What a run is configured with, whatever it learns.

use spanwise_artifact::settings::Schedule;
use spanwise_ops::Precision;

use crate::schedule;

/// How a run learns: what `[train]` and `[pretrain]` have in common.
#[derive(Debug, Clone, Copy)]
pub struct Hyperparameters {
    /// Decides items, order, masks and dropout.
    pub seed: u64,
    /// Passes over all items.
    pub epochs: usize,
    /// Minutes that all steps together may take, at most; `None`: no limit.
    pub max_minutes: Option<f64>,
    /// Items per optimizer step.
    pub batch_size: usize,
    /// Rows of full length per forward pass.
    pub micro_batch_size: usize,
    /// Most tokens of a row.
    pub max_length: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// How the learning rate falls after warm-up.
    pub schedule: Schedule,
    /// Share of all steps over which the learning rate rises linearly from 0.
    pub warmup_ratio: f64,
    /// Decoupled weight decay; biases and layer norms are spared.
    pub weight_decay: f64,
    /// Global norm that gradients are scaled down to.
    pub max_grad_norm: f64,
    /// Factor on the learning rate from every layer to the one below it.
    pub layer_decay: f64,
    /// Decay of the average of the weights; 0: none is kept.
    pub ema: f64,
    /// Number format of matrix products.
    pub precision: Precision,
    /// Whether activations are computed again for the backward pass in place of being kept.
    pub gradient_checkpointing: bool,
    /// Steps between evaluations, besides those after every epoch.
    pub eval_steps: Option<usize>,
    /// Whether the weights of the best evaluation are kept, and not the last ones.
    pub load_best_model_at_end: bool,
    /// Evaluations without a better one after which a run ends; `None`: it goes through all steps.
    pub early_stopping_patience: Option<usize>,
}

impl Hyperparameters {
    /// Returns how many tokens a forward pass may have, padding included.
    pub fn tokens_per_pass(&self) -> usize {
        self.micro_batch_size * self.max_length
    }

    /// Returns how far a run of `steps` steps is after `step` of them, which took `seconds`: see
    /// [`schedule::position`].
    pub fn position(&self, step: usize, seconds: f64, steps: usize) -> f64 {
        schedule::position(self.max_minutes, step, seconds, steps)
    }

    /// Returns the learning rate at `position` of `steps` steps.
    pub fn learning_rate(&self, position: f64, steps: usize) -> f64 {
        self.learning_rate * schedule::factor(self.schedule, self.warmup_ratio, position, steps)
    }

    /// Returns whether an evaluation is due after `step` steps, 1 or more.
    pub fn evaluates_after(&self, step: usize, steps_per_epoch: usize) -> bool {
        let every = self
            .eval_steps
            .is_some_and(|every| step.is_multiple_of(every));
        every || step.is_multiple_of(steps_per_epoch)
    }
}
