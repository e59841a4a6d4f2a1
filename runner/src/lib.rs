//! DistributedCD's runner.

pub mod build;
pub mod cli;
pub mod engine;
pub mod error;
pub mod event;
pub mod exec;
pub mod facts;
pub mod journal;
pub mod pipeline;
pub mod plugin;
pub mod report;
pub mod signal;
pub mod text;
