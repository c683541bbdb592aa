//! The model on every backend that this build has.

mod parity;
mod scoring;
