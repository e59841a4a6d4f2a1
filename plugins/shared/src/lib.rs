//! What the plugins of this repository have in common: durations, statuses, retries, files of the workspace; of history
//! backends the lines that events are kept as, the names of what they keep, and the clocks and signatures of servers.

#[cfg(feature = "aws")]
pub mod aws;
pub mod clock;
pub mod duration;
pub mod facts;
pub mod files;
mod findings;
pub mod line;
pub mod retry;
pub mod segment;
pub mod status;
pub mod text;
pub mod wait;

pub use findings::{Findings, field};
