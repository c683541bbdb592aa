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

pub use answers::{
    AnswersTable, Decoding, Fit, FitNull, LengthLimit, Metric, MlqaLanguage, NullThreshold, Rule,
    RuleSwitch, RulesTable,
};
pub use checkpoint::{CheckpointJob, CheckpointTable};
pub use checks::{Checks, Problem, Settings};
pub use data::{DataJob, DataTable, Fold, OnBadRecord};
pub use device::{Device, UnknownDevice};
pub use ensemble::{EnsembleJob, EnsembleMethod};
pub use precision::{Precision, UnknownPrecision};
pub use predict::{PredictJob, PredictTable};
pub use pretrain::PretrainTable;
pub use train::{DistillTable, LearnedReferences, TrainJob, TrainTable};
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
    use schemars::generate::SchemaSettings;
    use serde_json::Value;

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

    /// The bounds of a schema's numbers that are missing, as `key: minimum`.
    fn missing_bounds(key: &str, schema: &Value, missing: &mut Vec<String>) {
        let list = |name: &str| schema[name].as_array().into_iter().flatten();
        for alternative in list("anyOf").chain(list("oneOf")) {
            missing_bounds(key, alternative, missing);
        }
        for (inner, schema) in schema["properties"].as_object().into_iter().flatten() {
            missing_bounds(&format!("{key}.{inner}"), schema, missing);
        }
        let types = schema["type"].as_array().into_iter().flatten();
        let is_number = types
            .chain([&schema["type"]])
            .any(|kind| *kind == "integer" || *kind == "number");
        let unsigned = schema["format"].as_str() == Some("uint");
        for (bound, exclusive) in [
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ] {
            let given = !schema[bound].is_null() || !schema[exclusive].is_null();
            if is_number && !given && !(unsigned && bound == "minimum") {
                missing.push(format!("{key}: {bound}"));
            }
        }
    }

    #[test]
    fn every_number_has_both_bounds() {
        fn check<T: JsonSchema>(table: &str, expected: &[&str]) {
            let schema = SchemaSettings::default()
                .with(|settings| settings.inline_subschemas = true)
                .into_generator()
                .into_root_schema_for::<T>();
            let mut missing = Vec::new();
            missing_bounds(table, schema.as_value(), &mut missing);
            assert_eq!(missing, expected);
        }
        check::<DataTable>("data", &[]);
        // The other bound of an index is the number of folds.
        check::<Fold>("fold", &["fold.index: maximum"]);
        check::<CheckpointTable>("checkpoint", &[]);
        // A stride is at most what fits beside the longest question.
        check::<WindowsTable>("windows", &["windows.stride: maximum"]);
        check::<PretrainTable>("pretrain", &[]);
        check::<TrainTable>("train", &[]);
        check::<DistillTable>("distill", &[]);
        check::<PredictTable>("predict", &[]);
        check::<EnsembleJob>("ensemble", &[]);
        check::<AnswersTable>("answers", &[]);
    }
}
