//! What the dispatcher and the steps say to each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    event::{Outcome, PluginUsed, Problem, StepArtifacts, StepLog, StepShell, StepTests},
    pipeline::expression::Status,
};

/// A step's place in the pipeline.
pub type StepIndex = usize;

/// What a running step says. Output is data: the channel is bounded, and a step that prints faster than its
/// output is kept waits.
#[derive(Debug)]
pub struct StepMessage {
    /// Which step.
    pub step: StepIndex,
    /// What it says.
    pub content: StepContent,
}

/// See [`StepMessage`].
#[derive(Debug)]
pub enum StepContent {
    /// It printed this.
    Output(Bytes),
    /// Its plugin, or the runner, has something to say about it.
    Log(StepLog),
    /// Its plugin made use of this.
    Used(PluginUsed),
    /// It made these files.
    Artifacts(StepArtifacts),
    /// Its tests said this.
    Tests(StepTests),
    /// Its work is over. What follows before its end takes a person's time, and not the step's or the build's.
    Held,
    /// Somebody looks around where it failed.
    Shell {
        /// What is kept and shown of it.
        event: StepShell,
        /// Answered when all sinks have shown it, so that the terminal is free.
        shown: oneshot::Sender<()>,
    },
    /// It ended, and all it printed has been said.
    Finished(Box<StepEnd>),
}

/// How an attempt ended, as who ran it saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    /// Why it ended, apart from what the engine did to it.
    pub outcome: Outcome,
    /// The process's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// What was wrong.
    pub problem: Option<Problem>,
    /// A process that it left behind still holds its output.
    pub leaked: bool,
    /// Values that later steps can read.
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// What it has to say about its result, in Markdown.
    pub summary: Option<String>,
}

impl StepEnd {
    /// An end with nothing but its outcome.
    pub fn new(outcome: Outcome) -> Self {
        StepEnd {
            outcome,
            exit_code: None,
            signal: None,
            problem: None,
            leaked: false,
            outputs: BTreeMap::new(),
            summary: None,
        }
    }

    /// DCD, its environment or a plugin could not do its job.
    pub fn error(problem: Problem) -> Self {
        StepEnd { problem: Some(problem), ..StepEnd::new(Outcome::Error) }
    }
}

/// How it went so far, as one condition of a step sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepStatus {
    /// What `success()`, `failure()` and `cancelled()` answer.
    pub status: Status,
    /// Why `success()` does not hold, as a reason to skip the step: "step `test` ended in failure".
    pub blame: Option<String>,
}

/// How a running step is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Soon, in its own way (SIGTERM).
    Grace,
    /// At once (SIGKILL).
    Kill,
}

/// The dispatcher's hold on a running step.
pub type StepControl = mpsc::UnboundedSender<Stop>;
