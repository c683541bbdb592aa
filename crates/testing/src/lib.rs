//! What the tests of the crates with a model share.
//!
//! - [`backends`]: every backend that this build has, one test at a time
//! - [`tiny`]: tiny models, saved by transformers or random, and comparing them
//! - [`high_ids`]: a task that a tiny model learns in a second
//! - [`resuming`]: whether an interrupted run resumes as if nothing had happened

#![warn(missing_docs)]

pub mod backends;
pub mod high_ids;
pub mod resuming;
pub mod tiny;
