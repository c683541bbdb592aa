//! ERNIE: BERT, and since version 2.0 (Sun et al., 2020; arXiv:1907.12412) embeddings of task
//! types, which ERNIE 3.0 (Sun et al., 2021; arXiv:2107.02137) has too.
//!
//! Reference: transformers'
//! [`modeling_ernie.py`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/ernie/modeling_ernie.py).

use super::bert::BERT;
use super::{Family, Names};

pub(super) const ERNIE: Family = Family {
    model_type: "ernie",
    span_class: "ErnieForQuestionAnswering",
    prefix: "ernie.",
    names: Names {
        embeddings: &[
            ("word", "word_embeddings"),
            ("position", "position_embeddings"),
            ("token_type", "token_type_embeddings"),
            ("task_type", "task_type_embeddings"),
            ("norm", "LayerNorm"),
        ],
        ..BERT.names
    },
    ..BERT
};
