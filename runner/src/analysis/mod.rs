//! What can be concluded from builds that have ended: no files, no clock, no backend.

mod diff;
mod keep;
mod stats;

pub use diff::{Change, Diff, StepChange, StepEnd, TestName};
pub use keep::{Candidate, Rules, kept};
pub use stats::{Sample, Spread, Stats, StepStats, TestStats};
