//! DistributedCD's runner.

pub mod build;
pub mod cli;
mod commands;
pub mod docker;
pub mod engine;
pub mod error;
pub mod event;
pub mod exec;
pub mod facts;
pub mod git;
pub mod host;
pub mod journal;
pub mod pipeline;
pub mod plugin;
pub mod report;
pub mod signal;
pub mod text;
