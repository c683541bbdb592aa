//! RoBERTa (Liu et al., 2019; arXiv:1907.11692): positions follow the padding id, there is one
//! token type.
//!
//! Reference: transformers'
//! [`modeling_roberta.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/roberta/modeling_roberta.py).

use super::bert::BERT;
use super::{Family, MaskedHeadNames, Names, Positions};

pub(super) const ROBERTA: Family = Family {
    model_type: "roberta",
    span_class: "RobertaForQuestionAnswering",
    prefix: "roberta.",
    names: Names {
        masked_head: MaskedHeadNames {
            transform: "lm_head.dense",
            norm: "lm_head.layer_norm",
            bias: "lm_head",
        },
        ..BERT.names
    },
    positions: Positions::AfterPadding,
    ..BERT
};
