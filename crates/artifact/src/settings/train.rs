//! What `[train]` may hold, and `[distill]`, which changes what a training learns from.

use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem, Schedule};

/// `[train]`: fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Passes over the training questions.
    pub epochs: usize,
    /// Minutes that all steps together may take, at most. Where they are too slow for that, fewer are done, and the
    /// learning rate goes through its whole schedule all the same; how good the model becomes then depends on the
    /// machine. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_minutes: Option<f64>,
    /// Questions per optimizer step.
    pub batch_size: usize,
    /// Questions per forward pass; the gradients of a batch are accumulated. Counts windows of full length:
    /// of shorter ones, more go together. Default: `batch_size`.
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
    /// Number format of matrix products.
    pub precision: Precision,
    /// Weight of a second loss, over all pairs of start and end together; 0: none.
    pub joint_loss: f64,
    /// Share of a boundary's label that goes to the tokens beside it.
    pub soft_labels: f64,
    /// Windows without the answer that every question brings along; start and end are then chosen among
    /// all of a question's windows.
    pub negative_windows: usize,
    /// Share of question and paragraph tokens, the answer's aside, that are masked.
    pub mask_inputs: f64,
    /// Draws of dropout before the span head, whose losses are averaged; 0: none.
    pub multi_sample_dropout: usize,
    /// Weight of the disagreement of two passes that differ in dropout; 0: one pass. Costs twice the time.
    pub r_drop: f64,
    /// Length of an adversarial step on the word embeddings, whose loss is learned from too; 0: none. Costs
    /// twice the time.
    pub fgm: f64,
    /// Factor on the learning rate from every layer to the one below it.
    pub layer_decay: f64,
    /// Decay of a running mean of the weights, which then replaces the last ones; 0: none.
    pub ema: f64,
    /// Learn from an ensemble's scores too; set by the runner for `[distill]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillSettings>,
    /// Keep the activations of one layer at a time and compute the others again when their gradients are
    /// due: less memory for a third more time, and the same result.
    pub gradient_checkpointing: bool,
    /// Measure dev loss and exact match every so many steps, besides every epoch's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_steps: Option<usize>,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 2,
            max_minutes: None,
            batch_size: 32,
            micro_batch_size: None,
            learning_rate: 3e-5,
            schedule: Schedule::Linear,
            warmup_ratio: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            precision: Precision::Fp32,
            joint_loss: 0.0,
            soft_labels: 0.0,
            negative_windows: 0,
            mask_inputs: 0.0,
            multi_sample_dropout: 0,
            r_drop: 0.0,
            fgm: 0.0,
            layer_decay: 1.0,
            ema: 0.0,
            distill: None,
            gradient_checkpointing: false,
            eval_steps: None,
        }
    }
}

impl TrainSettings {
    /// Questions of full length per forward pass.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size.unwrap_or(self.batch_size)
    }

    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("train", Vec::new());
        checks.require(self.epochs >= 1, "epochs", self.epochs, "1 or more");
        if let Some(minutes) = self.max_minutes {
            let holds = minutes.is_finite() && minutes > 0.0;
            checks.require(holds, "max_minutes", minutes, "more than 0");
        }
        checks.batches(self.batch_size, self.micro_batch_size());
        checks.optimizer(
            self.learning_rate,
            self.warmup_ratio,
            self.weight_decay,
            self.max_grad_norm,
        );
        for (key, value) in [
            ("joint_loss", self.joint_loss),
            ("r_drop", self.r_drop),
            ("fgm", self.fgm),
        ] {
            let holds = value.is_finite() && value >= 0.0;
            checks.require(holds, key, value, "0 or more");
        }
        for (key, value) in [
            ("soft_labels", self.soft_labels),
            ("mask_inputs", self.mask_inputs),
            ("ema", self.ema),
        ] {
            let holds = (0.0..1.0).contains(&value);
            checks.require(holds, key, value, "0 or more and less than 1");
        }
        checks.require(
            self.distill.is_none(),
            "distill",
            "set",
            "nothing: the table [distill] is what sets it",
        );
        checks.require(
            self.layer_decay > 0.0 && self.layer_decay <= 1.0,
            "layer_decay",
            self.layer_decay,
            "more than 0, up to 1",
        );
        checks.require(
            self.eval_steps != Some(0),
            "eval_steps",
            0,
            "1 or more steps",
        );
        checks.1
    }
}

/// `[distill]`: one model that learns from the ensemble's scores and then answers in its place (Hinton et al., 2015).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillSettings {
    /// The ensemble's share in the loss; the known answers have the rest.
    pub weight: f64,
    /// Scores are divided by it before they become probabilities, the ensemble's and the model's.
    pub temperature: f64,
}

impl Default for DistillSettings {
    fn default() -> Self {
        Self {
            weight: 0.5,
            temperature: 2.0,
        }
    }
}

impl DistillSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("distill", Vec::new());
        checks.require(
            self.weight > 0.0 && self.weight <= 1.0,
            "weight",
            self.weight,
            "more than 0, up to 1",
        );
        checks.require(
            self.temperature.is_finite() && self.temperature > 0.0,
            "temperature",
            self.temperature,
            "more than 0",
        );
        checks.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_name_their_key() {
        let check =
            |settings: TrainSettings, key: &str| assert_eq!(settings.problems()[0].key, key);
        check(
            TrainSettings {
                epochs: 0,
                ..Default::default()
            },
            "train.epochs",
        );
        check(
            TrainSettings {
                max_minutes: Some(0.0),
                ..Default::default()
            },
            "train.max_minutes",
        );
        check(
            TrainSettings {
                learning_rate: -1.0,
                ..Default::default()
            },
            "train.learning_rate",
        );
        check(
            TrainSettings {
                learning_rate: f64::NAN,
                ..Default::default()
            },
            "train.learning_rate",
        );
        check(
            TrainSettings {
                warmup_ratio: 1.5,
                ..Default::default()
            },
            "train.warmup_ratio",
        );
        check(
            TrainSettings {
                micro_batch_size: Some(64),
                ..Default::default()
            },
            "train.micro_batch_size",
        );
    }
}
