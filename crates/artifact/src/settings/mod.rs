//! Every key that a pipeline file may hold, with its default and its bounds.
//!
//! There is one file for each stage, which counts as that stage's code alone; here is what several
//! of them use. A `…Table` is what the user types under `[train]` and the like, a `…Job` is what
//! the runner hands to a stage where that is more than the table.
//!
//! Types and unknown keys are refused by serde. Bounds are attributes of the key that they
//! belong to; [`Settings::problems`] checks them, and `docs/pipeline-file.md` is generated from
//! them and from the doc comments. Names follow those of Hugging Face where one exists.

mod answers;
mod checkpoint;
mod checks;
mod data;
mod device;
mod ensemble;
mod precision;
mod predict;
mod pretrain;
mod train;
mod windows;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use answers::{AnswersTable, Decoding, Fit, LengthLimit, Rule, RuleSwitch, RulesTable};
pub use checkpoint::CheckpointTable;
pub use checks::{Checks, Problem, Settings};
pub use data::{DataJob, DataTable, Fold, OnBadRecord};
pub use device::{Device, UnknownDevice};
pub use ensemble::{EnsembleJob, EnsembleMethod};
pub use precision::{Precision, UnknownPrecision};
pub use predict::{PredictJob, PredictTable};
pub use pretrain::PretrainTable;
pub use train::{DistillTable, TrainJob, TrainTable};
pub use windows::WindowsTable;

/// Where a training window lies around its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Uniformly at random among all positions that contain the whole answer.
    Random,
    /// With the answer in the middle, as in the course's sample program.
    Centered,
}

/// How the learning rate changes after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The learning rate stays at its peak.
    Constant,
    /// The learning rate falls linearly to zero.
    Linear,
    /// The learning rate falls to zero along half a cosine.
    Cosine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_own_bounds() {
        assert_eq!(WindowsTable::default().problems(), []);
        assert_eq!(PretrainTable::default().problems(), []);
        assert_eq!(TrainTable::default().problems(), []);
        assert_eq!(DistillTable::default().problems(), []);
        assert_eq!(PredictTable::default().problems(), []);
        assert_eq!(AnswersTable::default().problems(), []);
    }
}
