//! Checkpoints in a local directory in Hugging Face layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use spanwise_artifact::{UserError, draft, fingerprint};

use crate::{Origin, foreign, tokenizer, weights};

/// Files beside `config.json` and the weights that are copied if they exist.
pub const KEPT: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "LICENSE",
    "LICENSE.txt",
    "README.md",
];

/// Copies the checkpoint in the directory `source` to `output`, its weights as one
/// `model.safetensors`, and adds `tokenizer.json` if it has none. Messages call it `name`.
///
/// # Errors
/// Fails with a [`UserError`] if a file is missing, damaged or in no known format.
pub fn import(name: &str, source: &Path, output: &Path) -> Result<Origin> {
    let config = source.join("config.json");
    let weights = weights::files(source)?;
    ensure!(!weights.is_empty(), without_weights(name, source));
    let mut files = vec![config];
    let kept = KEPT.iter().map(|file| source.join(file));
    files.extend(kept.filter(|path| path.is_file()));
    for path in files.iter().chain(&weights) {
        fs_err::File::open(path).map_err(|error| {
            UserError::new(format!("cannot read {name}: {error}"))
                .hint("check that you may read its files")
        })?;
    }
    for path in &files {
        let name = path.file_name().expect("a file has a name");
        draft::copy(path, &output.join(name))?;
    }
    weights::unify(&weights, &output.join(weights::FILE))?;
    tokenizer::complete(name, output)?;
    files.extend(weights);
    Ok(Origin {
        source: name.to_owned(),
        commit: None,
        files: digests(&files)?,
        licence: None,
        conversion: None,
    })
}

/// What is wrong with a checkpoint without weights, whose other files are in `directory`.
pub(crate) fn without_weights(name: &str, directory: &Path) -> UserError {
    let (what, hint) = foreign::remedy(directory).unwrap_or_else(|| {
        let hint = "a checkpoint holds config.json, its weights, and tokenizer.json or vocab.txt";
        (
            "it is not a checkpoint in Hugging Face layout".to_owned(),
            hint,
        )
    });
    UserError::new(format!(
        "{name} has no model.safetensors or pytorch_model.bin: {what}"
    ))
    .hint(hint)
}

/// Returns the BLAKE3 of every file, by its name.
fn digests(files: &[PathBuf]) -> Result<BTreeMap<String, String>> {
    let digest = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok((name.into_owned(), fingerprint::of_file(path)?))
    };
    files.iter().map(digest).collect()
}
