//! `[ensemble]` and its members.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spanwise_artifact::settings::{
    CheckpointTable, Checks, EnsembleMethod, PretrainTable, Problem, Settings, TrainTable,
    WindowsTable,
};

/// Several models, and how their scores become one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EnsembleTable {
    /// How the members' scores are combined.
    pub(crate) method: EnsembleMethod,
    /// Number of parts of train and dev together for cross-validation: every member is trained once
    /// for each, without it. Without this key every member is trained once, on train.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub(crate) folds: Option<usize>,
    /// Minutes of training after which no further member starts; without it all are trained. The
    /// first always is. How many members there are then depends on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000), extend("exclusiveMinimum" = 0))]
    pub(crate) max_minutes: Option<f64>,
    /// What each member does differently from the rest of the file; without any there is one model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<MemberTable>,
}

/// What one member does differently. A key that it does not have is that of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemberTable {
    /// Seed of the member's training; without it that of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Keys of `[checkpoint]`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "CheckpointTable", transform = without_defaults)]
    pub(crate) checkpoint: Map<String, Value>,
    /// Keys of `[windows]`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "WindowsTable", transform = without_defaults)]
    pub(crate) windows: Map<String, Value>,
    /// Keys of `[pretrain]`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "PretrainTable", transform = without_defaults)]
    pub(crate) pretrain: Map<String, Value>,
    /// Keys of `[train]`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "TrainTable", transform = without_defaults)]
    pub(crate) train: Map<String, Value>,
}

impl Settings for EnsembleTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("ensemble", self);
        checks.require(
            self.members.len() <= EnsembleTable::MOST_MEMBERS,
            "members",
            format!("{} tables", self.members.len()),
            &format!("must be at most {}", EnsembleTable::MOST_MEMBERS),
        );
        checks.finish()
    }
}

impl MemberTable {
    /// What the member does differently in the file's table of that name; `None` for a table that
    /// members share.
    pub(crate) fn table(&self, name: &str) -> Option<&Map<String, Value>> {
        match name {
            "checkpoint" => Some(&self.checkpoint),
            "windows" => Some(&self.windows),
            "pretrain" => Some(&self.pretrain),
            "train" => Some(&self.train),
            _ => None,
        }
    }
}

impl EnsembleTable {
    /// The largest number of members; their inputs are numbered with three digits.
    const MOST_MEMBERS: usize = 1000;
}

/// Takes defaults and required keys out of a table's schema: a member has them from the file's
/// table.
fn without_defaults(schema: &mut Schema) {
    schema.remove("required");
    let keys = schema.get_mut("properties").and_then(Value::as_object_mut);
    for key in keys.into_iter().flat_map(Map::values_mut) {
        if let Some(key) = key.as_object_mut() {
            key.remove("default");
        }
    }
}
