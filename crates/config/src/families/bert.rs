//! BERT (Devlin et al., 2019; arXiv:1810.04805), which Chinese RoBERTa-wwm, MacBERT, LERT, PERT and
//! MiniRBT are too.
//!
//! Reference: transformers'
//! [`modeling_bert.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py).

use super::{Family, MaskedHeadNames, Names, Positions};

pub(super) const BERT: Family = Family {
    model_type: "bert",
    span_class: "BertForQuestionAnswering",
    prefix: "bert.",
    names: Names {
        embeddings: &[
            ("word", "word_embeddings"),
            ("position", "position_embeddings"),
            ("token_type", "token_type_embeddings"),
            ("norm", "LayerNorm"),
        ],
        projection: "embeddings_project",
        layer: "encoder.layer.{layer}",
        layer_parts: &[
            ("query", "attention.self.query"),
            ("key", "attention.self.key"),
            ("value", "attention.self.value"),
            ("attention_output", "attention.output.dense"),
            ("attention_norm", "attention.output.LayerNorm"),
            ("intermediate", "intermediate.dense"),
            ("output", "output.dense"),
            ("output_norm", "output.LayerNorm"),
        ],
        masked_head: MaskedHeadNames {
            transform: "cls.predictions.transform.dense",
            norm: "cls.predictions.transform.LayerNorm",
            bias: "cls.predictions",
        },
    },
    positions: Positions::FromZero,
    always_projects: false,
    drops_after_feed_forward: true,
};
