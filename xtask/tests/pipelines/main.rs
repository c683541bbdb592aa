//! The runner end to end on a pipeline of seconds.

mod gestures;
mod pipeline;
mod trials;
