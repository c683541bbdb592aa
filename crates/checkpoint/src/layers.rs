//! Keeps only the first encoder layers of a checkpoint.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use serde_json::Value;
use spanwise_artifact::{UserError, columns, jsonl};

use crate::{read_json, weights};

/// Rewrites the checkpoint in `directory` to its first `count` encoder layers.
///
/// # Errors
/// Fails with a [`UserError`] if the checkpoint has fewer, or `config.json` does not say how many.
pub fn keep_first(directory: &Path, count: usize) -> Result<()> {
    let mut config = check(directory, count)?;
    config["num_hidden_layers"] = count.into();
    jsonl::write_document(&directory.join("config.json"), &config)?;

    let path = directory.join(weights::FILE);
    let kept = directory.join("model.safetensors.kept");
    {
        let map = columns::map(&path)?;
        let tensors =
            SafeTensors::deserialize(&map).with_context(|| format!("read {}", path.display()))?;
        let (_, metadata) = SafeTensors::read_metadata(&map)?;
        let views = tensors
            .tensors()
            .into_iter()
            .filter(|(name, _)| layer_of(name).is_none_or(|layer| layer < count));
        safetensors::serialize_to_file(views, metadata.metadata().clone(), &kept)?;
    }
    fs_err::rename(kept, path)?;
    Ok(())
}

/// Checks that the checkpoint in `directory` has `count` encoder layers; returns its `config.json`.
///
/// # Errors
/// Fails with a [`UserError`] if it has fewer, or `config.json` does not say how many.
pub fn check(directory: &Path, count: usize) -> Result<Value> {
    let path = directory.join("config.json");
    let config: Value = read_json(&path)?;
    let layers = config["num_hidden_layers"].as_u64().ok_or_else(|| {
        UserError::new(format!("{} has no num_hidden_layers", path.display()))
            .hint("leave checkpoint.keep_layers out, or fetch the checkpoint again")
    })?;
    ensure!(
        count as u64 <= layers,
        UserError::new(format!(
            "checkpoint.keep_layers = {count}: must be at most {layers}, the layers of the checkpoint"
        ))
    );
    Ok(config)
}

/// Returns the encoder layer that a tensor belongs to, from its name
/// (`…encoder.layer.3.attention…`).
fn layer_of(name: &str) -> Option<usize> {
    name.split_once("encoder.layer.")?
        .1
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::layer_of;

    #[test]
    fn reads_layer_from_name() {
        assert_eq!(
            layer_of("bert.encoder.layer.11.output.dense.bias"),
            Some(11)
        );
        assert_eq!(layer_of("encoder.layer.0.output.dense.bias"), Some(0));
        assert_eq!(layer_of("bert.embeddings.word_embeddings.weight"), None);
    }
}
