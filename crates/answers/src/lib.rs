//! From character scores to strings, and how good they are.
//!
//! - [`decode`]: scores → ranked answers, sliced from the paragraph
//! - [`length`]: how long an answer may be, where that is fitted
//! - [`rules`]: small repairs of an answer's ends
//! - [`metrics`]: the three rulers; only this crate knows them
//! - [`report`]: all of it as a page to look at

#![warn(missing_docs)]

pub mod decode;
pub mod length;
pub mod metrics;
pub mod report;
pub mod rules;
