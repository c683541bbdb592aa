//! XLM-RoBERTa (Conneau et al., 2020; arXiv:1911.02116), a RoBERTa in a hundred languages.
//!
//! Reference: transformers'
//! [`modeling_xlm_roberta.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/xlm_roberta/modeling_xlm_roberta.py).

use super::Family;
use super::roberta::ROBERTA;

pub(super) const XLM_ROBERTA: Family = Family {
    model_type: "xlm-roberta",
    span_class: "XLMRobertaForQuestionAnswering",
    ..ROBERTA
};
