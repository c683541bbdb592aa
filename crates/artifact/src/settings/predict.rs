//! What `[predict]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem};
use crate::questions::Split;

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
