//! The encoder and its span head: weights in and out, training, prediction.
//!
//! - [`config`], [`encoder`], [`weights`]: a BERT for extractive question answering
//! - [`batch`], [`score`]: windows in, scores per paragraph character out
//! - [`train`]: the training loop and what it is made of
//!
//! The train and predict programs share everything but [`train`], so a change there leaves the predict
//! stage fresh.

#![warn(missing_docs)]

pub mod batch;
pub mod config;
pub mod encoder;
pub mod run;
pub mod score;
pub mod train;
pub mod weights;
