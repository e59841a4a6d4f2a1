//! What the step types of this repository have in common: durations, statuses, retries, and files of the
//! workspace.

pub mod duration;
pub mod facts;
pub mod files;
mod findings;
pub mod retry;
pub mod status;
pub mod text;
pub mod wait;

pub use findings::{Findings, field};
