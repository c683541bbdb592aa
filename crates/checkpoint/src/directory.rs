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
    let weights = weights::files(source)?;
    ensure!(!weights.is_empty(), without_weights(name, source));
    refuse_unreadable(name, &weights)?;
    let mut files = import_small_files(name, source, output)?;
    weights::unify(&weights, &output.join(weights::FILE))?;
    files.extend(weights);
    Ok(Origin {
        source: name.to_owned(),
        commit: None,
        files: digests(&files)?,
        licence: None,
        conversion: None,
    })
}

/// Copies the files of the checkpoint in the directory `source` that are not weights to `output`,
/// and adds `tokenizer.json` if it has none. Returns those that were read. Messages call it `name`.
///
/// # Errors
/// Fails with a [`UserError`] if a file is missing or the tokenizer cannot be read.
pub fn import_small_files(name: &str, source: &Path, output: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![source.join("config.json")];
    let kept = KEPT.iter().map(|file| source.join(file));
    files.extend(kept.filter(|path| path.is_file()));
    refuse_unreadable(name, &files)?;
    for path in &files {
        let name = path.file_name().expect("a file has a name");
        draft::copy(path, &output.join(name))?;
    }
    tokenizer::complete(name, output)?;
    Ok(files)
}

/// Refuses files of a checkpoint that may not be read.
fn refuse_unreadable(name: &str, files: &[PathBuf]) -> Result<(), UserError> {
    for path in files {
        fs_err::File::open(path).map_err(|error| {
            UserError::new(format!("cannot read {name}: {error}"))
                .hint("check that you may read its files")
        })?;
    }
    Ok(())
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
