//! `config.json`, field by field under its own names.
//!
//! Reference: `transformers.BertConfig`.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;
use spanwise_artifact::{UserError, jsonl};

/// Architecture of a BERT encoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BertConfig {
    /// The architecture family; `bert` is the one this version builds.
    pub model_type: String,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width between the two matrices of a feed-forward block.
    pub intermediate_size: usize,
    /// Activation between them.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Dropout after embeddings, attention and feed-forward blocks.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the position embedding: the longest input in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Standard deviation of newly initialised weights.
    #[serde(default = "fiftieth")]
    pub initializer_range: f64,
    /// Added to the variance in layer norms.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    /// How positions enter; `absolute` is the one this version builds.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

fn tenth() -> f64 {
    0.1
}

fn fiftieth() -> f64 {
    0.02
}

fn epsilon() -> f64 {
    1e-12
}

fn two() -> usize {
    2
}

impl BertConfig {
    /// Reads `config.json` and refuses what this version does not build.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = jsonl::read_document(path).map_err(|error| {
            UserError::new(format!(
                "the checkpoint's config.json cannot be used: {error:#}"
            ))
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let supported = |holds: bool, key: &str, found: &str, expected: &str| {
            ensure!(
                holds,
                UserError::new(format!(
                    "the checkpoint's config.json has {key} = {found:?}, supported is {expected}"
                ))
            );
            Ok(())
        };
        supported(
            self.model_type == "bert",
            "model_type",
            &self.model_type,
            "\"bert\"",
        )?;
        supported(
            self.hidden_act == "gelu",
            "hidden_act",
            &self.hidden_act,
            "\"gelu\"",
        )?;
        let positions = &self.position_embedding_type;
        supported(
            positions == "absolute",
            "position_embedding_type",
            positions,
            "\"absolute\"",
        )?;
        let heads = self.num_attention_heads;
        supported(
            heads > 0 && self.hidden_size.is_multiple_of(heads),
            "num_attention_heads",
            &heads.to_string(),
            &format!("a divisor of hidden_size {}", self.hidden_size),
        )
    }
}
