//! The encoder and its heads: weights in and out, training, prediction.
//!
//! - [`config`], [`encoder`], [`weights`]: a BERT for extractive question answering
//! - [`batch`], [`score`]: windows in, scores per paragraph character out
//! - [`train`]: the training loop and what it is made of
//! - [`pretrain`]: masked language modelling before it
//!
//! The programs share everything but these two, so a change there leaves the predict stage fresh.

#![warn(missing_docs)]

pub mod batch;
pub mod config;
pub mod encoder;
pub mod pretrain;
pub mod run;
pub mod score;
pub mod train;
pub mod weights;
