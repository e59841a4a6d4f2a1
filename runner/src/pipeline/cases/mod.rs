//! The files of `dcd plugin test`: cases for a step type, and how to open a history backend. Read as a pipeline is.

mod read;

use serde_json::Value;

use super::{Allow, Json, Limits, Secret, Wrong};
use crate::event::Outcome;

/// Where a case's `with` names the workspace, and what stands for it in what is compared.
pub const WORKSPACE: &str = "$WORKSPACE";

/// One case: what a step type is given, and what it should do.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The step's config.
    pub with: Json,
    /// The step's environment.
    pub env: Vec<(String, String)>,
    /// What earlier steps gave: step, name, value.
    pub inputs: Vec<(String, String, Value)>,
    /// The build's facts.
    pub facts: Value,
    /// What is in the workspace before: path, text.
    pub files: Vec<(String, String)>,
    /// What the plugin is granted.
    pub allow: Allow,
    /// The pipeline's secrets: name, value.
    pub secrets: Vec<(String, String)>,
    /// What stands in for programs.
    pub commands: Vec<FakeCommand>,
    /// What stands in for the network.
    pub http: Vec<FakeAnswer>,
    /// Whether the step is asked to stop as soon as it starts.
    pub cancel: bool,
    /// What should come of it.
    pub expect: Expect,
}

/// What a program does that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeCommand {
    /// The program and its arguments, with a space between any two; `*` stands for anything.
    pub run: String,
    /// How it ends.
    pub exit_code: i32,
    /// What it prints.
    pub stdout: String,
    /// What it prints as errors.
    pub stderr: String,
}

/// What a server answers that is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeAnswer {
    /// The method and the URL, with a space between them; `*` stands for anything.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What should come of a case. `None`: anything.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// How the step ends. Success, where the case says nothing.
    pub end: End,
    /// All its outputs.
    pub outputs: Option<Value>,
    /// Its summary.
    pub summary: Option<Wanted>,
    /// What it prints.
    pub output: Option<Wanted>,
    /// What is wrong, and what to do.
    pub problem: Option<Wanted>,
    /// What it logs, a line each: `level: message`.
    pub log: Option<Wanted>,
    /// Files of the workspace afterwards: path, text; `None`: there must be none.
    pub files: Vec<(String, Option<Wanted>)>,
    /// All programs that it ran, as [`FakeCommand::run`].
    pub commands: Option<Vec<String>>,
    /// All requests that it sent.
    pub requests: Option<Vec<WantedRequest>>,
}

/// A request that should be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRequest {
    /// As [`FakeAnswer::request`].
    pub request: String,
    /// Its body.
    pub body: Option<Wanted>,
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The step ran, with this outcome.
    Outcome(Outcome),
    /// Its config is refused before anything runs.
    Refused,
}

impl Default for End {
    fn default() -> Self {
        End::Outcome(Outcome::Success)
    }
}

/// What a text should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This, but for a line end at the end.
    Text(String),
    /// All of these are in it.
    Contains(Vec<String>),
}

/// How to open a history backend.
#[derive(Clone, Debug)]
pub struct BackendSetup {
    /// Its config.
    pub with: Json,
    /// What it is granted.
    pub allow: Allow,
    /// How much it may use.
    pub limits: Limits,
    /// Secrets that it may be granted.
    pub secrets: Vec<Secret>,
}

/// Reads a file of cases. `path` is what to call it in an error.
pub fn parse_cases(text: &str, path: &str) -> Result<Vec<Case>, Wrong> {
    read::file(text, path, read::CASES_EXAMPLE, read::cases)
}

/// Reads how to open a history backend. `path` is what to call the file in an error.
pub fn parse_backend_setup(text: &str, path: &str) -> Result<BackendSetup, Wrong> {
    read::file(text, path, read::SETUP_EXAMPLE, read::setup)
}
