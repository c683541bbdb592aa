//! The arithmetic of spans. Opens no file and knows no stage.
//!
//! - [`search`]: the best spans of start and end scores
//! - [`mod@covering`]: scores for spans that no token begins or ends with
//! - [`softmax`]: probabilities, their logarithms, temperature
//! - [`exact_match`]: the task's exact match, as the course defines it
//! - [`holdout`]: parts of a split that share no group, to be held out in turn
//! - [`sample`]: some items, spread evenly

#![warn(missing_docs)]

pub mod covering;
pub mod exact_match;
pub mod holdout;
pub mod sample;
pub mod search;
pub mod softmax;

pub use covering::covering;
pub use exact_match::task_exact_match;
pub use sample::in_sample;
pub use search::{best_spans, best_spans_by_limit, span_score};
