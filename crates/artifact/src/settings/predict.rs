//! What `[predict]` may hold, and what the predict stage is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Precision, Problem, Settings};
use crate::questions::Split;

/// How the trained model is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PredictTable {
    /// Windows of full length in a forward pass; of shorter ones, more go together.
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
    /// Number format of matrix products; without it that of `[train]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl Default for PredictTable {
    fn default() -> Self {
        Self {
            batch_size: 32,
            precision: None,
        }
    }
}

/// What the predict stage is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictJob {
    /// `[predict]`, with the precision of `[train]` where it names none.
    #[serde(flatten)]
    pub table: PredictTable,
    /// The splits whose questions are scored.
    pub splits: Vec<Split>,
}

impl Settings for PredictTable {
    fn problems(&self) -> Vec<Problem> {
        Checks::of("predict", self).finish()
    }
}

impl Settings for PredictJob {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.table.problems();
        if self.splits.is_empty() {
            problems.push(Problem {
                key: "predict.splits".to_owned(),
                found: "[]".to_owned(),
                reason: "must not be empty".to_owned(),
            });
        }
        problems
    }
}
