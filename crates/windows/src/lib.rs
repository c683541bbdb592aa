//! Tokenizes every question and paragraph once and lays evaluation windows over the tokens.
//!
//! - [`tokenize`]: text → token ids, each with its character range in the original text
//! - [`lay`]: answers and windows in tokens
//! - [`split`]: a split's texts → its file
//! - [`losses`]: what of them is lost, in sentences
//!
//! Training windows are not made here: the train stage samples them anew every epoch.

#![warn(missing_docs)]

pub mod lay;
pub mod losses;
pub mod split;
pub mod tokenize;
