//! Programs that plugins run.

use std::{future::Future, path::PathBuf, pin::Pin};

use tokio::sync::mpsc;

use crate::{
    engine::message::{StepIndex, StepMessage, Stop},
    event::Problem,
};

/// A program to run.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The program, an absolute path, and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Where it starts; absolute.
    pub directory: PathBuf,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// What it prints on standard output is given back, too.
    pub stdout: bool,
    /// What it prints on standard error is given back, too.
    pub stderr: bool,
    /// How many bytes of each stream are given back.
    pub capture_limit: usize,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landing {
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What was asked for of its standard output.
    pub stdout: Vec<u8>,
    /// What was asked for of its standard error.
    pub stderr: Vec<u8>,
    /// It printed more than is given back.
    pub truncated: bool,
}

/// A program under way.
pub type Launched = Pin<Box<dyn Future<Output = Result<Landing, Problem>> + Send>>;

/// Starts programs.
pub trait Programs: Send + Sync {
    /// Runs one to its end, for a step: what it prints goes to `messages`. An error is one that could not be started.
    fn launch(
        &self,
        launch: Launch,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
    ) -> Launched;
}
