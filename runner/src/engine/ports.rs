//! What the engine needs of the world.

use tokio::sync::mpsc;

use crate::{
    engine::message::{StepControl, StepIndex, StepMessage},
    event::{Body, Event, StepName},
};

/// Runs steps.
pub trait Steps {
    /// Starts an attempt. What it says comes through `messages`, its end last, whatever happens.
    fn start(&mut self, step: StepIndex, attempt: u32, messages: mpsc::Sender<StepMessage>) -> StepControl;
}

/// Keeps events. An event is shown only after it was kept.
pub trait Log {
    /// Why an event could not be kept.
    type Error: std::error::Error;

    /// Gives the event its number and time, and keeps it.
    fn append(&mut self, step: Option<StepName>, body: Body) -> Result<Event, Self::Error>;
}

/// Shows events. It runs on a thread of its own, so that a terminal that stands still stops no signal.
pub trait Sink: Send {
    /// Shows one.
    fn event(&mut self, event: &Event);

    /// No more events wait just now: show what is held back.
    fn idle(&mut self) {}
}
