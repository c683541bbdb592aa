//! Tiny models.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use spanwise_artifact::jsonl;
use spanwise_model::batch::Batch;
use spanwise_model::pair_template::Row;
use spanwise_model::{EncoderConfig, EncoderModel, SpanModel, parameters};

/// Returns the directory of the tiny encoder of a kind that transformers has saved, such as `bert`.
pub fn saved(kind: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/fixtures");
    PathBuf::from(format!("{fixtures}/tiny-{kind}"))
}

/// Returns the `config.json` of a tiny BERT.
pub fn config(dropout: f64) -> Value {
    json!({
        "model_type": "bert", "vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 32,
        "initializer_range": 0.1, "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    })
}

/// Returns a tiny BERT with a span head and random weights, always the same.
pub fn span_model(dropout: f64, device: &Device) -> Result<SpanModel> {
    random(dropout, 3, device)
}

/// Returns a tiny BERT with a head, its weights sampled from `seed`.
pub fn random<M: EncoderModel>(dropout: f64, seed: u64, device: &Device) -> Result<M> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("config.json");
    jsonl::write_document(&path, &config(dropout))?;
    device.seed(seed);
    let model = M::new(&EncoderConfig::read(&path)?, device);
    // Parameters are sampled when first used, which must not be between seeding and dropout.
    values(&model);
    Ok(model)
}

/// Returns all parameters, flat, one after the other.
pub fn values<M: Module>(model: &M) -> Vec<f32> {
    let parameters = parameters::named(model).into_iter();
    let values = parameters.flat_map(|(_, tensor)| {
        let values = tensor.into_data().try_into_vec::<f32>();
        values.expect("parameters are f32")
    });
    values.collect()
}

/// Returns a batch of rows as wide as the longest.
pub fn batch(rows: &[Row], device: &Device) -> Batch {
    const PADDING: u32 = 0;
    let longest = rows.iter().map(|(ids, _)| ids.len()).max();
    Batch::new(rows, longest.unwrap_or(0), PADDING, device)
}

/// Returns a matrix's rows.
pub fn rows(matrix: Tensor<2>) -> Result<Vec<Vec<f32>>> {
    let [_, columns] = matrix.dims();
    let values = matrix.into_data().try_into_vec::<f32>();
    let values = values.map_err(|error| anyhow!("{error:?}"))?;
    Ok(values.chunks(columns).map(<[f32]>::to_vec).collect())
}

/// Returns the largest difference between the elements of two vectors of one length.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}
