//! The encoder and its heads, weights in and out, batches, scores of windows.
//!
//! - [`encoder`], [`span_head`], [`masked_head`]: BERT and its relatives, one file a block
//! - [`weights`]: parameters from and to Hugging Face's `model.safetensors`
//! - [`parameters`]: one way to walk over them
//! - [`pair_template`], [`batch`], [`score`]: windows in, scores of paragraph characters out
//! - [`job`]: what programs with a model take from their job
//! - [`memory`]: the memory that training takes

pub mod batch;
pub mod encoder;
pub mod job;
pub mod masked_head;
pub mod memory;
pub mod pair_template;
pub mod parameters;
pub mod score;
pub mod span_head;
pub mod weights;

pub use encoder::{Encoder, EncoderModel};
pub use masked_head::MaskedModel;
pub use span_head::{SpanLogits, SpanModel};
pub use spanwise_config::{EncoderConfig, families};
