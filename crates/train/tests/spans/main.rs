//! Learning spans, on every backend that this build has.

mod gradients;
mod optimizer;
mod support;
mod training;
