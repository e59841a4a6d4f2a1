//! Step types: what a step that says `"uses": "NAME"` runs.

mod adapter;
mod context;
mod output;

pub use adapter::StepAdapter;
pub use context::{Input, StepContext};
pub use output::{StepError, StepOutput};

use crate::config::Config;
use crate::types::Diagnostic;

/// A kind of step. What it writes to stdout and stderr is the step's output.
///
/// The whole of a plugin is an implementation of this trait and a call of
/// [`export_step!`](crate::export_step); see the [crate's first page](crate).
pub trait StepType: Sized {
    /// One line that says what a step of this type does.
    const SUMMARY: &'static str;

    /// Names of optional abilities, shown to the user. None are defined yet.
    const FEATURES: &'static [&'static str] = &[];

    /// The step's settings in the pipeline.
    type Config: Config;

    /// Finds what a schema cannot: two settings that exclude each other, a duration that is none.
    ///
    /// Called for every step of this type before the build starts, so it must be quick and do no I/O.
    fn validate(config: &Self::Config) -> Vec<Diagnostic> {
        let _ = config;
        Vec::new()
    }

    /// Does the step's work.
    fn run(config: Self::Config, cx: StepContext) -> Result<StepOutput, StepError>;
}
