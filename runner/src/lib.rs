//! `DistributedCD`'s runner.

pub mod facts;
pub mod git;
pub mod pipeline;
