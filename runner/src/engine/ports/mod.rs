//! What the engine needs of the world.

pub mod backend;
pub mod programs;

use tokio::sync::mpsc;

use crate::{
    build::Build,
    chain::Hash,
    engine::message::{StepControl, StepIndex, StepMessage, StepStatus},
    event::{Body, Event, PluginUsed, Problem, Record, StepFinished, StepName, StepTests},
};

/// Runs steps.
pub trait Steps {
    /// What the step's conditions come to: `None` to run it, else why it is skipped. `statuses` has one for
    /// each of the step's conditions.
    fn decide(&mut self, step: StepIndex, statuses: &[StepStatus]) -> Result<Option<String>, Problem>;

    /// The running attempt's tests said this. Nothing that is to be masked is in it.
    fn tested(&mut self, step: StepIndex, tests: &StepTests);

    /// A step is decided. Those that need it come after.
    fn finished(&mut self, step: StepIndex, result: &StepFinished);

    /// Starts an attempt. What it says comes through `messages`, its end last, whatever happens.
    fn start(&mut self, step: StepIndex, attempt: u32, messages: mpsc::Sender<StepMessage>) -> StepControl;

    /// What the plugins that do no step made use of so far: each that made use of anything. Asked at the end.
    fn used(&self) -> Vec<PluginUsed>;
}

/// Keeps events. An event is shown only after it was kept.
pub trait Log {
    /// Why an event could not be kept.
    type Error: std::error::Error;

    /// Gives the events their numbers and time, and keeps them, all or none.
    fn append(&mut self, events: Vec<(Option<StepName>, Body)>) -> Result<Vec<Event>, Self::Error>;
}

/// Shows events. It runs on a thread of its own, so that a terminal that stands still stops no signal.
pub trait Sink: Send {
    /// Shows one.
    fn event(&mut self, event: &Event);

    /// No more events wait just now: show what is held back.
    fn idle(&mut self) {}
}

/// How far a journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many events are safe from power loss: also the first number that is not.
    pub synced: u64,
    /// Nothing will be added.
    pub closed: bool,
}

/// Reads a journal again, while it is being written.
pub trait Tail: Send {
    /// The records from number `from` on and before `end`, but not many more than `bytes` of payload. Cheapest
    /// where the last call ended. Empty only when `from` is `end`.
    fn read(&mut self, from: u64, end: u64, bytes: usize) -> std::io::Result<Vec<Record>>;

    /// What all records before `end` add up to, and the hash of the last one.
    fn build(&mut self, end: u64) -> std::io::Result<(&Build, Hash)>;
}
