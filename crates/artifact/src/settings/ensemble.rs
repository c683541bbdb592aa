//! What `[ensemble]` may hold, but for its members, which the runner spells out.

use serde::{Deserialize, Serialize};

use super::AnswersSettings;

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
