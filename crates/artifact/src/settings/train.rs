//! What `[train]` and `[distill]` may hold, and what the train stage is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem, Schedule, Settings};

/// Fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainTable {
    /// Passes over the training questions; 0: none, and the model is the checkpoint, which must have
    /// a question-answering head. `data.train` may then be left out.
    #[schemars(range(max = 10000))]
    pub epochs: usize,
    /// Minutes that all steps together may take, evaluations not counted; without it there is no
    /// limit. Where the machine is
    /// too slow for all steps, fewer are done and the learning rate goes through its whole schedule
    /// all the same, so that the result depends on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub max_minutes: Option<f64>,
    /// Questions per optimizer step.
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
    /// Questions per forward pass, counted as windows of full length; of shorter ones, more go
    /// together. The gradients of a batch are accumulated. Without it `batch_size`.
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
    /// Number format of matrix products.
    pub precision: Precision,
    /// Weight of a second loss, over all pairs of start and end together; 0: none.
    #[schemars(range(min = 0, max = 1000))]
    pub joint_loss: f64,
    /// Share of a boundary's label that goes to the neighbouring tokens.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub soft_labels: f64,
    /// The reference answers that are learned from, where a training question has several.
    pub references: LearnedReferences,
    /// Windows without the answer that are added for every question; start and end are then chosen
    /// among all of a question's windows. Where questions are unanswerable, such windows are else
    /// learned as having no answer, which these are not.
    #[schemars(range(max = 1000))]
    pub negative_windows: usize,
    /// Share of question and paragraph tokens that are masked; those of the answer never are.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub mask_inputs: f64,
    /// Samples of dropout before the span head, whose losses are averaged; 0: one, as usual.
    #[schemars(range(max = 1000))]
    pub multi_sample_dropout: usize,
    /// Weight of the divergence between two passes that differ in dropout; 0: one pass. It takes
    /// twice the time.
    #[schemars(range(min = 0, max = 1000))]
    pub r_drop: f64,
    /// Length of an adversarial step on the word embeddings, whose loss is added; 0: none. It takes
    /// twice the time.
    #[schemars(range(min = 0, max = 1000))]
    pub fgm: f64,
    /// Factor on the learning rate from each layer to the one below it; 1: all layers learn alike.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub layer_decay: f64,
    /// Decay of an exponential moving average of the weights, which replaces the last ones at the
    /// end; 0: none.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub ema: f64,
    /// Keep the activations of one layer at a time and compute the others again in the backward
    /// pass. It saves memory, takes a third more time, and the result is the same.
    pub gradient_checkpointing: bool,
    /// Steps between measurements of loss and task exact match on dev, which are made at the end of
    /// every epoch in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub eval_steps: Option<usize>,
    /// Keep the model of the best evaluation, and not the last one: the one with the highest task
    /// exact match on dev, then the lowest loss, then the fewest steps. Every labelled dev
    /// question is then evaluated each time, else at most 128.
    pub load_best_model_at_end: bool,
    /// Evaluations without a better one after which training ends, with `load_best_model_at_end`;
    /// without it all steps are done. Until then the learning rate follows the schedule of all
    /// epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub early_stopping_patience: Option<usize>,
}

impl Default for TrainTable {
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
            references: LearnedReferences::First,
            negative_windows: 0,
            mask_inputs: 0.0,
            multi_sample_dropout: 0,
            r_drop: 0.0,
            fgm: 0.0,
            layer_decay: 1.0,
            ema: 0.0,
            gradient_checkpointing: false,
            eval_steps: None,
            load_best_model_at_end: false,
            early_stopping_patience: None,
        }
    }
}

/// The reference answers of a training question that are learned from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LearnedReferences {
    /// The first one that fits a window.
    #[default]
    First,
    /// One of those that fit a window, sampled anew every epoch.
    All,
}

impl TrainTable {
    /// Whether anything is learned.
    pub fn learns(&self) -> bool {
        self.epochs > 0
    }

    /// Whether a model is chosen by how good it is on dev.
    pub fn chooses_on_dev(&self) -> bool {
        self.learns() && self.load_best_model_at_end
    }

    /// Questions of full length per forward pass.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size.unwrap_or(self.batch_size)
    }
}

/// One more model, which learns from the scores of the ensemble and then answers in its place
/// (Hinton et al., 2015).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistillTable {
    /// Share of the ensemble's scores in the loss; the reference answers have the rest.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub weight: f64,
    /// What the scores of the ensemble and of the model are divided by before they become
    /// probabilities.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1000))]
    pub temperature: f64,
}

impl Default for DistillTable {
    fn default() -> Self {
        Self {
            weight: 0.5,
            temperature: 2.0,
        }
    }
}

/// What the train stage is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainJob {
    /// `[train]`.
    #[serde(flatten)]
    pub table: TrainTable,
    /// `[distill]`, for the model that learns from the ensemble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillTable>,
}

impl Settings for TrainTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("train", self);
        checks.micro_batch(self.batch_size, self.micro_batch_size());
        if let Some(patience) = self.early_stopping_patience {
            checks.require(
                self.load_best_model_at_end,
                "early_stopping_patience",
                patience,
                "needs load_best_model_at_end = true, which says what a better evaluation is",
            );
        }
        checks.finish()
    }
}

impl Settings for DistillTable {
    fn problems(&self) -> Vec<Problem> {
        Checks::of("distill", self).finish()
    }
}

impl Settings for TrainJob {
    fn problems(&self) -> Vec<Problem> {
        let distill = self.distill.iter().flat_map(DistillTable::problems);
        self.table.problems().into_iter().chain(distill).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_out_of_bounds_name_their_key() {
        let check = |change: fn(&mut TrainTable), expected: &str| {
            let mut settings = TrainTable::default();
            change(&mut settings);
            let problems = settings.problems();
            let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
            assert_eq!(found, [expected]);
        };
        check(
            |t| t.epochs = 10001,
            "train.epochs = 10001: must be at most 10000",
        );
        check(
            |t| t.max_minutes = Some(0.0),
            "train.max_minutes = 0.0: must be more than 0",
        );
        check(
            |t| t.max_minutes = Some(f64::INFINITY),
            "train.max_minutes = nan or inf: must be a finite number",
        );
        check(
            |t| t.learning_rate = -1.0,
            "train.learning_rate = -1.0: must be more than 0",
        );
        check(
            |t| t.learning_rate = f64::NAN,
            "train.learning_rate = nan or inf: must be a finite number",
        );
        check(
            |t| t.warmup_ratio = 1.5,
            "train.warmup_ratio = 1.5: must be at most 1",
        );
        check(
            |t| t.weight_decay = -0.1,
            "train.weight_decay = -0.1: must be at least 0",
        );
        check(
            |t| t.soft_labels = 1.0,
            "train.soft_labels = 1.0: must be less than 1",
        );
        check(
            |t| t.layer_decay = 0.0,
            "train.layer_decay = 0.0: must be more than 0",
        );
        check(
            |t| t.eval_steps = Some(0),
            "train.eval_steps = 0: must be at least 1",
        );
        check(
            |t| t.early_stopping_patience = Some(3),
            "train.early_stopping_patience = 3: needs load_best_model_at_end = true, which says \
             what a better evaluation is",
        );
        check(
            |t| (t.load_best_model_at_end, t.early_stopping_patience) = (true, Some(0)),
            "train.early_stopping_patience = 0: must be at least 1",
        );
        check(
            |t| t.negative_windows = usize::MAX,
            "train.negative_windows = 18446744073709551615: must be at most 1000",
        );
        check(
            |t| t.micro_batch_size = Some(64),
            "train.micro_batch_size = 64: must be at most batch_size, which is 32",
        );
    }

    #[test]
    fn a_job_is_the_table_and_what_is_distilled() {
        let plain = serde_json::to_value(TrainJob::default()).unwrap();
        assert_eq!(plain, serde_json::to_value(TrainTable::default()).unwrap());
        let job = TrainJob {
            distill: Some(DistillTable::default()),
            ..TrainJob::default()
        };
        let value = serde_json::to_value(&job).unwrap();
        assert_eq!(value["distill"], json!({"weight": 0.5, "temperature": 2.0}));
        assert_eq!(
            serde_json::from_value::<TrainJob>(value.clone()).unwrap(),
            job
        );
        let error = serde_json::from_value::<TrainTable>(value).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `distill`"),
            "{error}"
        );
    }
}
