//! Reads questions and paragraphs, and checks every record before anything is built on it.
//!
//! Only this crate knows input layouts: [`layout`] turns a file of either layout into [`layout::Record`]s,
//! [`check`] decides which of them can be trusted, [`folds`] cuts them into parts for cross-validation.

#![warn(missing_docs)]

pub mod check;
pub mod folds;
pub mod layout;
