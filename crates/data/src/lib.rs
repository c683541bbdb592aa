//! Reads questions and paragraphs, and checks every record before anything is built on it.
//!
//! Only this crate knows input layouts. Files are read piece by piece and what is accepted is
//! written at once, so that memory stays level however many questions there are: some 40 bytes a
//! question remain, by which ids and questions are known that come twice.
//!
//! - [`input`]: files as text, and how messages show what is in them
//! - [`layout`]: a file of any layout → paragraphs and records
//! - [`document`], [`lines`], [`columns`], [`table`]: files of each kind
//! - [`record`]: one record of each layout
//! - [`rows`]: the rows of a table
//! - [`sources`]: the files of a pipeline
//! - [`check`]: which records can be trusted
//! - [`faults`]: what is wrong with records, of all files together
//! - [`rejected`]: what is left out
//! - [`repeated`]: which questions several splits have
//! - [`collect`]: a split's files → its paragraphs and questions
//! - [`folds`]: parts for cross-validation

#![warn(missing_docs)]

pub mod check;
pub mod collect;
pub mod columns;
pub mod document;
pub mod faults;
mod flat;
pub mod folds;
pub mod input;
mod json;
pub mod layout;
pub mod lines;
mod literal;
mod outline;
pub mod record;
pub mod rejected;
pub mod repeated;
pub mod rows;
pub mod sources;
pub mod table;
