//! What `[data]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Problem};

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
