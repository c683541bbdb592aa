//! CamemBERT (Martin et al., 2020; arXiv:1911.03894), a French RoBERTa.
//!
//! Reference: transformers'
//! [`modeling_camembert.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/camembert/modeling_camembert.py).

use super::Family;
use super::roberta::ROBERTA;

pub(super) const CAMEMBERT: Family = Family {
    model_type: "camembert",
    span_class: "CamembertForQuestionAnswering",
    ..ROBERTA
};
