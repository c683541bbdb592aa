//! ALBERT (Lan et al., 2020; arXiv:1909.11942): narrow embeddings, and layers that share
//! parameters.
//!
//! Reference: transformers'
//! [`modeling_albert.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/albert/modeling_albert.py).

use super::bert::BERT;
use super::{Family, MaskedHeadNames, Names};

pub(super) const ALBERT: Family = Family {
    model_type: "albert",
    span_class: "AlbertForQuestionAnswering",
    prefix: "albert.",
    names: Names {
        projection: "encoder.embedding_hidden_mapping_in",
        layer: "encoder.albert_layer_groups.{group}.albert_layers.{inner}",
        layer_parts: &[
            ("query", "attention.query"),
            ("key", "attention.key"),
            ("value", "attention.value"),
            ("attention_output", "attention.dense"),
            ("attention_norm", "attention.LayerNorm"),
            ("intermediate", "ffn"),
            ("output", "ffn_output"),
            ("output_norm", "full_layer_layer_norm"),
        ],
        masked_head: MaskedHeadNames {
            transform: "predictions.dense",
            norm: "predictions.LayerNorm",
            bias: "predictions",
        },
        ..BERT.names
    },
    always_projects: true,
    drops_after_feed_forward: false,
    ..BERT
};
