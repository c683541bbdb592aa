//! Reads questions and paragraphs, and checks every record before anything is built on it.
//!
//! Only this crate knows input layouts.
//!
//! - [`layout`]: a file of any layout → records
//! - [`check`]: which records can be trusted
//! - [`folds`]: parts for cross-validation

#![warn(missing_docs)]

pub mod check;
pub mod folds;
pub mod layout;
