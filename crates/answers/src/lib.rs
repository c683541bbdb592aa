//! From character scores to answers, and how good they are.
//!
//! - [`fit`]: what is fitted on dev, and the answer that follows
//! - [`split`]: a split's questions with their scores
//! - [`answer`]: their answers
//! - [`files`]: the files that these go to
//! - [`decode`]: the candidates of a question, sliced from its paragraph
//! - [`length`]: fitting the longest answer
//! - [`rules`]: repairs of an answer's ends
//! - [`null`]: fitting when a question is left unanswered
//! - [`confidence`]: how probable an answer is
//! - [`metrics`]: answers scored by every definition
//! - [`report`]: all of it as a page

#![warn(missing_docs)]

pub mod answer;
pub mod confidence;
pub mod decode;
pub mod files;
pub mod fit;
pub mod length;
pub mod metrics;
pub mod null;
pub mod report;
pub mod rules;
pub mod split;
#[cfg(test)]
mod testing;
