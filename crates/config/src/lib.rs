//! `config.json`, field by field under its own names.
//!
//! Reference: transformers'
//! [`BertConfig`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/configuration_bert.py)
//! and its namesakes for the other families.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::nn::Initializer;
use serde::Deserialize;
use spanwise_artifact::{UserError, jsonl};
use spanwise_ops::Activation;

use crate::families::{Family, Positions};

/// Architecture of an encoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EncoderConfig {
    /// The family that `model_type` names.
    #[serde(rename = "model_type")]
    pub family: &'static Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the embeddings; `hidden_size` where it is not given.
    pub embedding_size: Option<usize>,
    /// Width of hidden states.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Groups of consecutive layers that share their parameters (ALBERT). Where it is not given, no
    /// layers share any.
    pub num_hidden_groups: Option<usize>,
    /// Layers with parameters of their own in a group.
    #[serde(default = "one_layer_per_group")]
    pub inner_group_num: usize,
    /// Attention heads of a layer, a divisor of `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of feed-forward blocks.
    pub intermediate_size: usize,
    /// Activation inside feed-forward blocks.
    #[serde(default = "default_activation")]
    hidden_act: String,
    /// Dropout after embeddings, attention and feed-forward blocks.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the position embedding.
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding.
    #[serde(default = "default_token_types")]
    pub type_vocab_size: usize,
    /// Whether the embedding of a task type is added to every token's (ERNIE).
    #[serde(default)]
    use_task_id: bool,
    /// Rows of the task-type embedding.
    #[serde(default = "default_task_types")]
    task_type_vocab_size: usize,
    /// Standard deviation of newly initialised weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// Constant added to the variance in layer norms.
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Id of the padding token, which RoBERTa's positions follow.
    pub pad_token_id: Option<usize>,
    /// Kind of position embedding; `absolute` is the one this version builds.
    #[serde(default = "default_position_embedding")]
    position_embedding_type: String,
}

fn one_layer_per_group() -> usize {
    1
}

fn default_token_types() -> usize {
    2
}

fn default_task_types() -> usize {
    3
}

fn default_activation() -> String {
    "gelu".to_owned()
}

fn default_position_embedding() -> String {
    "absolute".to_owned()
}

fn default_dropout() -> f64 {
    0.1
}

fn default_initializer_range() -> f64 {
    0.02
}

fn default_layer_norm_eps() -> f64 {
    1e-12
}

impl EncoderConfig {
    /// Reads `config.json`. Fails where it describes an encoder that this version does not build.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = jsonl::read_document(path).map_err(|error| {
            UserError::new(format!(
                "the checkpoint's config.json cannot be used: {error:#}"
            ))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Width of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Whether a projection leads from the embeddings' width to the layers'.
    pub fn projects_embeddings(&self) -> bool {
        self.family.always_projects || self.embedding_size() != self.hidden_size
    }

    /// Rows of the task-type embedding; `None` where the encoder has none. Families whose
    /// checkpoints have no name for it ignore `use_task_id`, as in transformers.
    pub fn task_types(&self) -> Option<usize> {
        let mut parts = self.family.names.embeddings.iter();
        let is_named = parts.any(|(part, _)| *part == "task_type");
        (is_named && self.use_task_id).then_some(self.task_type_vocab_size)
    }

    /// Position of an input's first token.
    pub fn first_position(&self) -> usize {
        match self.family.positions {
            Positions::FromZero => 0,
            Positions::AfterPadding => self.pad_token_id.unwrap_or(1) + 1,
        }
    }

    /// Longest input in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings
            .saturating_sub(self.first_position())
    }

    /// Groups of layers that share parameters.
    pub fn groups(&self) -> usize {
        self.num_hidden_groups.unwrap_or(self.num_hidden_layers)
    }

    /// Dropout after feed-forward blocks.
    pub fn feed_forward_dropout(&self) -> f64 {
        if self.family.drops_after_feed_forward {
            self.hidden_dropout_prob
        } else {
            0.0
        }
    }

    /// Distribution of newly initialised weights.
    pub(crate) fn initializer(&self) -> Initializer {
        Initializer::Normal {
            mean: 0.0,
            std: self.initializer_range,
        }
    }

    /// Activation of feed-forward blocks.
    pub fn activation(&self) -> Activation {
        activation(&self.hidden_act).expect("checked when read")
    }

    fn check(&self) -> Result<()> {
        let supported = |holds: bool, key: &str, found: &str, expected: &str| {
            ensure!(
                holds,
                UserError::new(format!(
                    "the checkpoint's config.json has {key} = {found}, supported is {expected}"
                ))
            );
            Ok(())
        };
        supported(
            activation(&self.hidden_act).is_some(),
            "hidden_act",
            &self.hidden_act,
            "gelu, gelu_new, gelu_pytorch_tanh or relu",
        )?;
        let positions = &self.position_embedding_type;
        supported(
            positions == "absolute",
            "position_embedding_type",
            positions,
            "absolute",
        )?;
        let heads = self.num_attention_heads;
        supported(
            heads > 0 && self.hidden_size.is_multiple_of(heads),
            "num_attention_heads",
            &heads.to_string(),
            &format!("a divisor of hidden_size {}", self.hidden_size),
        )?;
        let groups = self.groups();
        supported(
            groups > 0 && self.num_hidden_layers.is_multiple_of(groups),
            "num_hidden_groups",
            &groups.to_string(),
            &format!("a divisor of num_hidden_layers {}", self.num_hidden_layers),
        )
    }
}

fn activation(name: &str) -> Option<Activation> {
    match name {
        "gelu" => Some(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
        "relu" => Some(Activation::Relu),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::EncoderConfig;

    #[test]
    fn task_types_need_a_family_with_names_for_them() {
        let check = |model_type: &str, use_task_id: bool, expected: Option<usize>| {
            let config = serde_json::json!({
                "model_type": model_type, "use_task_id": use_task_id, "task_type_vocab_size": 3,
                "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1,
                "num_attention_heads": 1, "intermediate_size": 4, "max_position_embeddings": 8,
            });
            let config: EncoderConfig = serde_json::from_value(config).unwrap();
            assert_eq!(config.task_types(), expected, "{model_type}, {use_task_id}");
        };
        check("ernie", true, Some(3));
        check("ernie", false, None);
        check("bert", true, None);
    }
}
