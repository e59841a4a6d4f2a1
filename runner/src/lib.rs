//! DistributedCD's runner.

pub mod facts;
pub mod pipeline;
