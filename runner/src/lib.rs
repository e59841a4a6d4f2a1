//! DistributedCD's runner.

pub mod build;
pub mod engine;
pub mod event;
pub mod exec;
pub mod facts;
pub mod journal;
pub mod pipeline;
pub mod signal;
