//! Keeping only the first encoder layers of a checkpoint.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use serde_json::Value;
use spanwise_artifact::{UserError, columns, jsonl};

/// Rewrites the checkpoint in `directory` to its first `count` layers.
pub fn keep_first(directory: &Path, count: usize) -> Result<()> {
    let config_path = directory.join("config.json");
    let mut config: Value = jsonl::read_document(&config_path)?;
    let layers = config["num_hidden_layers"]
        .as_u64()
        .context("config.json has no num_hidden_layers")?;
    ensure!(
        count as u64 <= layers,
        UserError::new(format!(
            "checkpoint.keep_layers is {count}, but the checkpoint has {layers} layers"
        ))
    );
    config["num_hidden_layers"] = count.into();
    jsonl::write_document(&config_path, &config)?;

    let path = directory.join("model.safetensors");
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

/// The encoder layer a tensor belongs to, from its name (`…encoder.layer.3.attention…`).
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
    fn layers_are_read_from_names() {
        assert_eq!(
            layer_of("bert.encoder.layer.11.output.dense.bias"),
            Some(11)
        );
        assert_eq!(layer_of("encoder.layer.0.output.dense.bias"), Some(0));
        assert_eq!(layer_of("bert.embeddings.word_embeddings.weight"), None);
    }
}
