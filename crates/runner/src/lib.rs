//! The pipeline runner: pipeline file → plan → what is stale and why → jobs; comparisons; garbage
//! collection.
//!
//! It knows stages by name and starts them as processes. It links neither Burn nor tokenizers, so
//! it builds in seconds.
//!
//! - [`pipeline_file`]: what a user may type, checked
//! - [`plan`]: which stages a pipeline has, whether each is fresh, and why not
//! - [`code`]: what of the code a stage's output depends on
//! - [`run`], [`programs`]: runs what is stale
//! - [`summary`], [`ask`], [`experiment`]: results of one run, of a question, of several runs
//!   beside one another
//! - [`evaluate`]: scores of anybody's predictions
//! - [`inspect`]: what data looks like, before any training
//! - [`gc`], [`links`], [`workspace`]: what lies on disk

#![warn(missing_docs)]

pub mod ask;
mod checks;
pub mod code;
mod ensemble_table;
pub mod evaluate;
pub mod experiment;
pub mod gc;
pub mod inspect;
pub mod links;
mod lock;
mod losses;
mod owner;
pub mod pipeline_file;
pub mod plan;
pub mod programs;
mod readers;
pub mod reference;
pub mod run;
mod session;
mod statistics;
pub mod summary;
pub mod workspace;
