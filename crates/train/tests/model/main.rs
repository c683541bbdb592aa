//! The model on every backend that this build has.

mod gradients;
mod parity;
mod pretraining;
mod scoring;
mod support;
mod task;
mod training;
