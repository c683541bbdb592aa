//! From character scores to strings, and how good they are.
//!
//! - [`decode`]: scores → ranked answers, sliced from the paragraph
//! - [`metrics`]: the three rulers; only this crate knows them

#![warn(missing_docs)]

pub mod decode;
pub mod metrics;
