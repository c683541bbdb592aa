//! The scores of several members combined into one, character by character, so that members need
//! not share a tokenizer.
//!
//! - [`members`]: the members' scores of a split
//! - [`combine`]: weighted sum and majority vote
//! - [`dev`]: dev questions with reference answers
//! - [`fit`]: weights fitted on dev
//! - [`report`]: what the members and all ways of combining them score on dev

#![warn(missing_docs)]

pub mod combine;
pub mod dev;
pub mod fit;
pub mod members;
pub mod report;
#[cfg(test)]
mod testing;
