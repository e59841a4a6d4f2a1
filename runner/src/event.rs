//! The one vocabulary of what happens in a build.
//!
//! Terminal, JSON output, journal and history backends read exactly these events; replaying a build's events
//! gives the same picture again. The kinds and their fields are documented in `docs/events.md`.

mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    chain::{Envelope, Hash},
    facts::Facts,
};

/// The version of this vocabulary, in `build.started`. It rises when a reader of the version before would
/// misunderstand an event; new kinds and new fields do not raise it.
pub const VERSION: u32 = 1;

/// Milliseconds since the Unix epoch, UTC.
pub type UnixMs = u64;

/// A step's name, shared between the events that carry it.
pub type StepName = Arc<str>;

/// OpenTelemetry's six words for a CI result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It was not run.
    Skip,
    /// The work said no.
    Failure,
    /// It took longer than it was allowed to.
    Timeout,
    /// DCD, its environment or a plugin could not do its job.
    Error,
    /// Somebody stopped it.
    Cancellation,
}

impl Outcome {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Skip => "skip",
            Outcome::Failure => "failure",
            Outcome::Timeout => "timeout",
            Outcome::Error => "error",
            Outcome::Cancellation => "cancellation",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Counts from 0 without a gap within a build.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// The step that it is about, if it is about one.
    pub step: Option<StepName>,
    /// What.
    pub body: Body,
    /// Binds it to the events before it.
    pub hash: Hash,
}

/// An event as it is stored and sent, to the byte, also when its kind is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// See [`Event::seq`].
    pub seq: u64,
    /// See [`Event::at`].
    pub at: UnixMs,
    /// See [`Body::kind`].
    pub kind: String,
    /// See [`Event::step`].
    pub step: Option<StepName>,
    /// See [`Body::payload`].
    pub payload: Payload,
    /// See [`Event::hash`].
    pub hash: Hash,
}

impl Record {
    /// The event that the record holds.
    pub fn into_event(self) -> Event {
        let body = Body::from_parts(&self.kind, self.payload);
        Event { seq: self.seq, at: self.at, step: self.step, body, hash: self.hash }
    }

    /// What is hashed besides the payload.
    pub(crate) fn envelope(&self) -> Envelope<'_> {
        Envelope {
            seq: self.seq,
            at: self.at,
            kind: &self.kind,
            step: self.step.as_deref().unwrap_or_default(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Always the first event.
    BuildStarted(BuildStarted),
    /// The build got its number.
    BuildNumbered(BuildNumbered),
    /// What is known of where the build runs, and with what.
    BuildFacts(Box<Facts>),
    /// The build waits for a lock that another one holds.
    LockWaiting(LockWaiting),
    /// The build holds its lock.
    LockAcquired(LockAcquired),
    /// The build is to stop.
    BuildCancelling(BuildCancelling),
    /// Always the last event.
    BuildFinished(BuildFinished),
    /// A try of a step began.
    AttemptStarted(AttemptStarted),
    /// What the running attempt printed, byte for byte, stdout and stderr in their order.
    StepOutput(Bytes),
    /// What the running attempt printed, of which only this is left.
    OutputPruned(OutputPruned),
    /// A plugin's diagnostic about itself.
    StepLog(StepLog),
    /// What the plugin that did the running attempt made use of.
    PluginUsed(PluginUsed),
    /// Files that the running attempt made.
    StepArtifacts(StepArtifacts),
    /// What a test report of the running attempt says.
    StepTests(StepTests),
    /// Somebody looked around in the place where the step failed.
    StepShell(StepShell),
    /// A try of a step ended.
    AttemptFinished(AttemptFinished),
    /// The step is decided: no attempt follows.
    StepFinished(StepFinished),
    /// A kind that this version does not know, kept as it is.
    Unknown {
        /// The kind's name.
        kind: String,
        /// Its content.
        payload: Payload,
    },
}

/// The content of an event as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON text.
    Json(String),
    /// What a step printed.
    Bytes(Bytes),
}

/// `build.started`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStarted {
    /// [`VERSION`].
    pub version: u32,
    /// The build's id, a UUID of version 7.
    pub id: String,
    /// What is built.
    pub component: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The steps, in their order.
    pub steps: Vec<StepPlan>,
    /// The id of the build that this one takes up again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_of: Option<String>,
}

/// A step as the pipeline has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The step's name.
    pub name: String,
    /// `shell`, `exec`, or the plugin's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The names of the steps that are decided before it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub needs: Vec<String>,
}

/// `build.numbered`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildNumbered {
    /// Unique within the component.
    pub number: u64,
    /// Who gave it: `journal`, or the history backend's name.
    pub by: String,
}

/// `build.cancelling`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildCancelling {
    /// The signal that asked for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Why, when it was no signal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// `lock.waiting`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWaiting {
    /// The lock's name.
    pub lock: String,
    /// Who holds it: for people. Empty while that is not known.
    pub holder: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<UnixMs>,
    /// The history backend that keeps the lock; none: this machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// How many come before this build, the holder included, where they are more than one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ahead: Option<u64>,
    /// Why it is not known just now who holds it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
}

/// `lock.acquired`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAcquired {
    /// The lock's name.
    pub lock: String,
    /// How long that took.
    pub waited_ms: u64,
    /// The history backend that keeps the lock; none: this machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Why it holds on this machine only, where the pipeline names a history backend.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub only_here: Option<String>,
}

/// `build.finished`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFinished {
    /// How the build ended.
    pub outcome: Outcome,
    /// Since `build.started`, by a clock that never jumps.
    pub duration_ms: u64,
    /// Why, where the steps do not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The signal that cancelled the build.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
}

/// `attempt.started`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStarted {
    /// 1 for the first try.
    pub attempt: u32,
}

/// `step.output` whose bytes were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPruned {
    /// How many there were.
    pub bytes: u64,
    /// Their digest, in lower-case hex.
    pub sha256: String,
}

/// `step.log`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLog {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// One sentence.
    pub message: String,
    /// What goes with it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fields: Vec<(String, String)>,
}

/// `plugin.used`: of what the plugin is granted, that which it used. Each once, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginUsed {
    /// The plugin's name.
    pub plugin: String,
    /// Origins that it sent requests to: `https://host[:port]`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub http: BTreeSet<String>,
    /// Addresses that it connected to: `host:port`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub tcp: BTreeSet<String>,
    /// Names of secrets that it got.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub secrets: BTreeSet<String>,
    /// Absolute paths of programs that it ran.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub programs: BTreeSet<String>,
}

impl PluginUsed {
    /// Kind by kind, those of which something was used.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<String>)> {
        let kinds = [
            ("http", &self.http),
            ("tcp", &self.tcp),
            ("secrets", &self.secrets),
            ("programs", &self.programs),
        ];
        kinds.into_iter().filter(|(_, used)| !used.is_empty())
    }
}

/// `step.artifacts`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepArtifacts {
    /// By path.
    pub artifacts: Vec<Artifact>,
}

/// A file that a step made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to the workspace.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In lower-case hex.
    pub sha256: String,
}

/// `step.tests`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTests {
    /// The report's file, relative to the workspace.
    pub report: String,
    /// In the report's order. A long report comes in several events.
    pub cases: Vec<TestCase>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// The suite, or class, that it belongs to; may be empty.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub suite: String,
    /// Its name.
    pub name: String,
    /// `success`, `failure`, `error` or `skip`.
    pub outcome: Outcome,
    /// How long it took, where the report says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_ms: Option<u64>,
    /// What the report says about a test that is not a success, cut to a bounded length.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

impl TestCase {
    /// Whether it says that something is wrong.
    pub fn is_bad(&self) -> bool {
        !matches!(self.outcome, Outcome::Success | Outcome::Skip)
    }
}

/// `step.shell`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepShell {
    /// Where it opened.
    pub directory: String,
    /// `None`: it opens now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_ms: Option<u64>,
}

/// `attempt.finished`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptFinished {
    /// 1 for the first try.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The process's exit code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Since `attempt.started`, by a clock that never jumps.
    pub duration_ms: u64,
    /// What was wrong, where the exit code does not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// A process that the step left behind still holds its output.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub leaked: bool,
    /// It is tried again after this long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_in_ms: Option<u64>,
}

/// What was wrong, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What happened, and where.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
}

impl Problem {
    /// A problem with what to do about it.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem { message: message.into(), help: Some(help.into()) }
    }
}

/// `step.finished`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepFinished {
    /// What happened: the last attempt's outcome, or `skip`.
    pub outcome: Outcome,
    /// What counts, after `continue_on_error`.
    pub conclusion: Outcome,
    /// How many attempts there were; of a step that a retry left out, those of the earlier build.
    pub attempts: u32,
    /// It succeeded, but not at the first attempt.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub flaky: bool,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// It was not asked for, or had succeeded in the build that this one takes up again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub left_out: bool,
    /// Values that later steps can read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// What it has to say about its result, in Markdown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub summary: Option<String>,
}

/// The kind of [`Body::StepOutput`], which readers may want to pass over.
pub const STEP_OUTPUT: &str = "step.output";
