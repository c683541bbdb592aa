//! The training loop's parts: optimizer, schedule, loss scaling, saved state and log.

#![warn(missing_docs)]

pub mod backward;
pub mod batches;
pub mod checkpoint;
pub mod log;
pub mod mask;
pub mod mean;
pub mod optimizer;
pub mod scaler;
pub mod schedule;
pub mod seed;
pub mod state;
