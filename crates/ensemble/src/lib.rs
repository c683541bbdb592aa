//! Several members' scores made one, in character space, so that members need not share a tokenizer.
//!
//! - [`combine`]: scores and votes
//! - [`fit`]: how much each member counts, learned from dev
//! - [`report`]: what the members and all ways to combine them are worth on dev

#![warn(missing_docs)]

pub mod combine;
pub mod fit;
pub mod report;
