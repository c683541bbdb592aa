//! Fine-tuning on spans: the [`task`] of the train stage, for the loop in `spanwise-training`.
//!
//! - [`task`]: a question with its windows, and what is learned from it
//! - [`placement`]: where a training window lies in its paragraph
//! - [`loss`]: cross-entropy of the answers' boundaries
//! - [`regularisers`]: what a pipeline file may add to that, a file each
//! - [`export`]: the trained model as a Hugging Face directory, with its model card

#![warn(missing_docs)]

mod evaluation;
pub mod export;
pub mod loss;
mod model_card;
pub mod placement;
pub mod regularisers;
pub mod task;

pub use task::{SpanTask, TrainingData, TrainingExample};
