//! What the ensemble stage is told. `[ensemble]` itself, which names members, is the runner's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Problem, Settings};

/// How members' scores become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleMethod {
    /// The mean of the scores.
    #[default]
    Mean,
    /// The mean of the scores, each member's divided by a temperature that is fitted on dev, so
    /// that overconfident members do not dominate.
    Calibrated,
    /// The mean of the scores with a weight for each member that is fitted on dev.
    Weighted,
    /// The span that most members score highest; the mean decides ties.
    Vote,
}

impl EnsembleMethod {
    /// Whether it takes labelled questions to fit something on.
    pub fn is_fitted(self) -> bool {
        matches!(self, Self::Calibrated | Self::Weighted)
    }
}

/// What the ensemble stage is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnsembleJob {
    /// How the members' scores are combined.
    pub method: EnsembleMethod,
    /// Longest answer in characters where members' answers are compared; without it, that of
    /// [`Profile::longest_answer`](crate::profile::Profile::longest_answer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_answer_length: Option<usize>,
}

impl EnsembleJob {
    /// Passes the scores of a single model on unchanged.
    pub const UNCHANGED: Self = Self {
        method: EnsembleMethod::Mean,
        max_answer_length: None,
    };
}

impl Settings for EnsembleJob {
    fn problems(&self) -> Vec<Problem> {
        Checks::of("ensemble", self).finish()
    }
}
