//! The encoder families: what `model_type` in `config.json` decides, one file a family.
//!
//! A family that is BERT with other names or a small addition is a file here and a line in
//! [`FAMILIES`].

mod albert;
mod bert;
mod camembert;
mod electra;
mod ernie;
mod roberta;
mod xlm_roberta;

use serde::{Deserialize, Deserializer, de};

/// Every family this version builds.
pub const FAMILIES: [&Family; 7] = [
    &bert::BERT,
    &electra::ELECTRA,
    &roberta::ROBERTA,
    &xlm_roberta::XLM_ROBERTA,
    &camembert::CAMEMBERT,
    &albert::ALBERT,
    &ernie::ERNIE,
];

/// Everything that the family of an encoder decides and its other settings do not.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The value of `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The class in transformers for extractive question answering.
    pub span_class: &'static str,
    /// What precedes the names of the encoder's parameters in a checkpoint with a head.
    pub prefix: &'static str,
    /// The names of parameters in checkpoints.
    pub names: Names,
    /// Where positions are counted from.
    pub positions: Positions,
    /// Whether a projection follows the embeddings even where their width is `hidden_size`.
    pub always_projects: bool,
    /// Whether dropout follows feed-forward blocks.
    pub drops_after_feed_forward: bool,
}

/// The names that a family's checkpoints have for the parts of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Names {
    /// The part of the embeddings: `word`, `position`, `token_type`, `task_type`, `norm` → its name
    /// below `embeddings.`.
    pub embeddings: &'static [(&'static str, &'static str)],
    /// The projection of embeddings to hidden states.
    pub projection: &'static str,
    /// A layer. `{layer}` stands for its index; where layers share parameters, `{group}` for the
    /// index of its group and `{inner}` for its index there.
    pub layer: &'static str,
    /// The part of a layer → its name below the layer's.
    pub layer_parts: &'static [(&'static str, &'static str)],
    /// The head that predicts masked tokens.
    pub masked_head: MaskedHeadNames,
}

/// The names of the parts of the head that predicts masked tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskedHeadNames {
    /// Its linear layer.
    pub transform: &'static str,
    /// Its layer norm.
    pub norm: &'static str,
    /// The module that holds the bias of the logits.
    pub bias: &'static str,
}

/// Where an encoder counts positions from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// The first token has position 0.
    FromZero,
    /// The first token's position follows the padding id, as in fairseq.
    AfterPadding,
}

/// Reads a `model_type`.
impl<'de> Deserialize<'de> for &'static Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let family = FAMILIES
            .into_iter()
            .find(|family| family.model_type == name);
        family.ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().map(|family| family.model_type).collect();
            de::Error::custom(format!(
                "model_type = {name}: must be one of {}",
                known.join(", ")
            ))
        })
    }
}
