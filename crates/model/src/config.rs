//! `config.json`, field by field under its own names, and the family of encoder it describes.
//!
//! Reference: transformers' `BertConfig`, `ElectraConfig`, `RobertaConfig`, `XLMRobertaConfig` and
//! `AlbertConfig`.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;
use spanwise_artifact::{UserError, jsonl};
use spanwise_ops::Activation;

/// What kind of encoder it is: `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// BERT, which Chinese RoBERTa-wwm, MacBERT, LERT, PERT and MiniRBT are too.
    Bert,
    /// The discriminator of ELECTRA: embeddings may be narrower than the layers.
    Electra,
    /// RoBERTa: positions are counted from behind the padding id, there is one token type.
    Roberta,
    /// RoBERTa in many languages.
    XlmRoberta,
    /// CamemBERT, a RoBERTa.
    Camembert,
    /// ALBERT: narrow embeddings, and layers that share parameters.
    Albert,
}

impl Family {
    /// What stands before the encoder's parameters in a checkpoint with a head.
    pub fn prefix(self) -> &'static str {
        match self {
            Family::Bert => "bert.",
            Family::Electra => "electra.",
            Family::Roberta | Family::XlmRoberta | Family::Camembert => "roberta.",
            Family::Albert => "albert.",
        }
    }

    /// transformers' class of this family for extractive question answering.
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Bert => "BertForQuestionAnswering",
            Family::Electra => "ElectraForQuestionAnswering",
            Family::Roberta => "RobertaForQuestionAnswering",
            Family::XlmRoberta => "XLMRobertaForQuestionAnswering",
            Family::Camembert => "CamembertForQuestionAnswering",
            Family::Albert => "AlbertForQuestionAnswering",
        }
    }

    fn is_roberta(self) -> bool {
        matches!(
            self,
            Family::Roberta | Family::XlmRoberta | Family::Camembert
        )
    }
}

/// Architecture of an encoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EncoderConfig {
    /// The family.
    pub model_type: Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the embeddings where it is not `hidden_size`.
    pub embedding_size: Option<usize>,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Groups of consecutive layers that share their parameters (ALBERT); without, no layers do.
    pub num_hidden_groups: Option<usize>,
    /// Layers with parameters of their own in a group.
    #[serde(default = "one")]
    pub inner_group_num: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width between the two matrices of a feed-forward block.
    pub intermediate_size: usize,
    /// Activation between them.
    #[serde(default = "gelu")]
    hidden_act: String,
    /// Dropout after embeddings, attention and feed-forward blocks.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the position embedding.
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
    /// Id of the padding token, from which RoBERTa counts positions.
    pub pad_token_id: Option<usize>,
    /// How positions enter; `absolute` is the one this version builds.
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
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

impl EncoderConfig {
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

    /// Width of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Whether a matrix leads from the embeddings' width to the layers'. ALBERT always has one.
    pub fn projects_embeddings(&self) -> bool {
        self.model_type == Family::Albert || self.embedding_size() != self.hidden_size
    }

    /// Position of the first token: RoBERTa's positions begin behind the padding id, as in fairseq.
    pub fn first_position(&self) -> usize {
        if self.model_type.is_roberta() {
            self.pad_token_id.unwrap_or(1) + 1
        } else {
            0
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

    /// Dropout after feed-forward blocks, where ALBERT has none.
    pub fn feed_forward_dropout(&self) -> f64 {
        match self.model_type {
            Family::Albert => 0.0,
            _ => self.hidden_dropout_prob,
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
