//! Learning spans, on every backend that this build has.

mod best;
mod gradients;
mod optimizer;
mod support;
mod training;
