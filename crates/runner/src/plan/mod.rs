//! What a pipeline consists of ([`graph`]), which of its artifacts are there ([`freshness`]), and
//! why one is not ([`reasons`]).

pub mod freshness;
pub mod graph;
pub mod reasons;
