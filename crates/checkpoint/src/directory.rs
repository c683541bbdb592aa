//! A local directory in Hugging Face layout.

use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::{UserError, fingerprint};

use crate::{Origin, tokenizer};

/// Files beside the three required ones that are kept where they exist.
const KEPT: [&str; 5] = [
    "tokenizer_config.json",
    "vocab.txt",
    "LICENSE",
    "LICENSE.txt",
    "README.md",
];

/// Copies the checkpoint in `source` to `output`, adding `tokenizer.json` where there is none.
pub fn import(name: &str, source: &Path, output: &Path) -> Result<Origin> {
    for file in ["config.json", "model.safetensors"] {
        require(name, source, file)?;
        fs_err::copy(source.join(file), output.join(file))?;
    }
    for file in KEPT.into_iter().filter(|file| source.join(file).is_file()) {
        fs_err::copy(source.join(file), output.join(file))?;
    }
    if source.join("tokenizer.json").is_file() {
        fs_err::copy(source.join("tokenizer.json"), output.join("tokenizer.json"))?;
    } else {
        ensure!(
            source.join("vocab.txt").is_file(),
            UserError::new(format!("{name} has neither tokenizer.json nor vocab.txt"))
        );
        tokenizer::write_from_vocabulary(output)?;
    }
    Ok(Origin {
        source: name.to_owned(),
        weights_digest: fingerprint::of_file(&source.join("model.safetensors"))?,
        licence: None,
        conversion: None,
    })
}

fn require(name: &str, source: &Path, file: &str) -> Result<()> {
    let error = UserError::new(format!("{name} has no {file}: it is not a checkpoint in Hugging Face layout"))
        .hint("a checkpoint directory holds config.json, model.safetensors and tokenizer.json or vocab.txt");
    ensure!(source.join(file).is_file(), error);
    Ok(())
}
