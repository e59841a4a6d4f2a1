//! What a step makes beside its output: [`handover`] is what it writes to `DCD_OUTPUT` and `DCD_SUMMARY`,
//! [`artifacts`] are its files, [`junit`] is what its test reports say. [`find`] finds files by globs, and
//! [`collect`] looks for them beside the run loop.

mod artifacts;
mod collect;
mod find;
mod handover;
mod junit;
#[cfg(test)]
mod tests;

pub use collect::{Wanted, collect};
pub use handover::{Handover, Products};

use crate::event::StepLog;

/// A word of ours about a step's files that is no failure.
fn warning(message: impl Into<String>) -> StepLog {
    StepLog { level: "warn".to_owned(), message: message.into(), fields: Vec::new() }
}
