//! Keeping the first encoder layers of a checkpoint.

use anyhow::Result;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use spanwise_artifact::{UserError, jsonl};
use spanwise_checkpoint::tensor::{self, NamedTensor};
use spanwise_checkpoint::{layers, weights};
use tempfile::TempDir;

/// A checkpoint with a tensor in each of two layers and one outside of them.
fn checkpoint(config: &Value) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    jsonl::write_document(&directory.path().join("config.json"), config)?;
    let names = [
        "bert.embeddings.weight",
        "bert.encoder.layer.0.weight",
        "bert.encoder.layer.1.weight",
    ];
    let tensors = names.map(|name| NamedTensor {
        name: name.to_owned(),
        dtype: Dtype::F32,
        shape: vec![1],
        bytes: vec![0; 4],
    });
    tensor::write(&directory.path().join(weights::FILE), &tensors)?;
    Ok(directory)
}

#[test]
fn keeps_first_layers() -> Result<()> {
    let directory = checkpoint(&json!({"num_hidden_layers": 2, "hidden_size": 1}))?;
    layers::keep_first(directory.path(), 1)?;
    let config: Value = jsonl::read_document(&directory.path().join("config.json"))?;
    assert_eq!(config, json!({"num_hidden_layers": 1, "hidden_size": 1}));
    let bytes = fs_err::read(directory.path().join(weights::FILE))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(
        names,
        ["bert.embeddings.weight", "bert.encoder.layer.0.weight"]
    );
    let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
    let metadata = metadata.metadata().clone().unwrap_or_default();
    assert_eq!(metadata.get("format").map(String::as_str), Some("pt"));
    Ok(())
}

#[test]
fn refuses_layers_that_are_not_there() -> Result<()> {
    let check = |config: Value, expected: &str| -> Result<()> {
        let directory = checkpoint(&config)?;
        let error = layers::keep_first(directory.path(), 3).expect_err(expected);
        let error = error.downcast_ref::<UserError>().expect(expected);
        assert!(error.message.contains(expected), "{error}");
        Ok(())
    };
    check(
        json!({"num_hidden_layers": 2}),
        "checkpoint.keep_layers = 3: must be at most 2",
    )?;
    check(json!({}), "config.json has no num_hidden_layers")
}
