//! The contract on disk between stages.
//!
//! An artifact is an immutable directory `artifacts/<stage>/<fingerprint>/`: data files plus a
//! [`Manifest`], which is written last. Stages know this crate and nothing of each other; whatever
//! two of them must agree on (a file layout, a setting, what a score means) is defined here once.
//!
//! - [`settings`]: every key a pipeline file may hold, its default and its bounds
//! - [`questions`], [`profile`], [`windows`], [`scores`], [`ensemble`]: what passes between stages
//! - [`answers`]: what a run ends with
//! - [`question_file`], [`lines`]: files of records, a few at a time
//! - [`manifest`], [`fingerprint`], [`draft`]: identity, staleness and atomic commit
//! - [`durable`]: what has a name is on the disk
//! - [`job`]: what a stage program is started with

#![warn(missing_docs)]

pub mod answers;
pub mod columns;
pub mod draft;
pub mod durable;
pub mod ensemble;
pub mod error;
pub mod fingerprint;
pub mod job;
pub mod jsonl;
pub mod lines;
pub mod manifest;
mod named;
pub mod profile;
pub mod question_file;
pub mod questions;
pub mod scores;
pub mod settings;
pub mod stage;
pub mod text;
pub mod windows;

pub use draft::Draft;
pub use error::UserError;
pub use job::{Input, Job};
pub use manifest::{Found, Manifest};
pub use question_file::QuestionFile;
pub use questions::{Answer, Paragraph, Question, Reference, Split};
pub use stage::Stage;
pub use text::Characters;
