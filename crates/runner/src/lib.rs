//! The pipeline runner: pipeline file → plan → what is stale and why → jobs; comparisons; garbage collection.

pub mod ask;
pub mod code;
pub mod experiment;
pub mod gc;
pub mod links;
pub mod pipeline;
pub mod pipeline_file;
pub mod plan;
pub mod programs;
pub mod scope;
pub mod setup;
pub mod statistics;
pub mod workspace;

pub use scope::{FileArguments, Scope};
