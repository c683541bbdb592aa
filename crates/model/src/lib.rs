//! The encoder and its heads, weights in and out, batches, scores of windows.
//!
//! - [`config`], [`encoder`], [`weights`]: a BERT for extractive question answering
//! - [`batch`], [`score`]: windows in, scores per paragraph character out
//! - [`parameters`]: one way to walk over parameters
//! - [`memory`]: what training takes

#![warn(missing_docs)]

pub mod batch;
pub mod config;
pub mod encoder;
pub mod job;
pub mod memory;
pub mod parameters;
pub mod score;
pub mod weights;
