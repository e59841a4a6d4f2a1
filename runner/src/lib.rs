//! `DistributedCD`'s runner.

pub mod docker;
pub mod facts;
pub mod git;
pub mod host;
pub mod pipeline;
