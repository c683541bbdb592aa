//! ELECTRA (Clark et al., 2020; arXiv:2003.10555), whose discriminator is fine-tuned: embeddings
//! may be narrower than the layers.
//!
//! Reference: transformers'
//! [`modeling_electra.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/electra/modeling_electra.py).

use super::bert::BERT;
use super::{Family, MaskedHeadNames, Names};

pub(super) const ELECTRA: Family = Family {
    model_type: "electra",
    span_class: "ElectraForQuestionAnswering",
    prefix: "electra.",
    names: Names {
        masked_head: MaskedHeadNames {
            transform: "generator_predictions.dense",
            norm: "generator_predictions.LayerNorm",
            bias: "generator_lm_head",
        },
        ..BERT.names
    },
    ..BERT
};
