//! Waits for what happens, lets the state decide, and does what it says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    engine::{
        message::{StepContent, StepControl, StepMessage, Stop},
        ports::{Log, Sink, Steps},
        state::{BuildEnd, Effect, Input, Options, State, StepSpec},
    },
    event::{Body, BuildFinished, Event, Outcome, StepName},
};

/// Messages of steps that may wait. Each may hold a piece of output, so this bounds the memory.
const MESSAGES: usize = 4;
/// Pieces of output that may wait to be shown.
const SHOWN_LATER: usize = 16;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: std::error::Error + 'static> {
    /// An event could not be kept. Nothing goes on without its record.
    #[error(transparent)]
    Log(E),
    /// The thread that shows events could not be started or ended in a panic.
    #[error("the reporting thread failed: {0}")]
    Report(String),
}

/// One build's run loop.
pub struct Dispatcher<L, S> {
    log: L,
    steps: S,
    names: Vec<StepName>,
    show: Show,
}

/// Hands events to the sinks' thread.
///
/// Only output waits for its turn: what the state decides is handed over at once, so that a terminal that
/// stands still keeps neither a signal nor a timeout from working.
struct Show {
    events: Option<mpsc::UnboundedSender<Shown>>,
    slots: Arc<Semaphore>,
    ended: oneshot::Receiver<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shown {
    event: Event,
    /// Given back when the event has been shown.
    _slot: Option<OwnedSemaphorePermit>,
}

impl<L: Log, S: Steps> Dispatcher<L, S>
where
    L::Error: 'static,
{
    /// A dispatcher that keeps events in `log`, then shows them in `sinks`.
    pub fn new(log: L, steps: S, sinks: Vec<Box<dyn Sink>>) -> Result<Self, RunError<L::Error>> {
        Ok(Dispatcher { log, steps, names: Vec::new(), show: Show::start(sinks).map_err(RunError::Report)? })
    }

    /// Keeps and shows an event that does not come from a step.
    pub fn emit(&mut self, body: Body) -> Result<(), RunError<L::Error>> {
        self.tell(None, body, None)
    }

    /// Shows an event that was kept before there was a dispatcher.
    pub fn show(&mut self, event: Event) {
        self.show.event(Shown { event, _slot: None });
    }

    /// Ends the build before its first step.
    pub async fn abandon(
        mut self,
        reason: String,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
    ) -> Result<(BuildEnd, L), RunError<L::Error>> {
        let outcome = Outcome::Error;
        let finished = BuildFinished { outcome, duration_ms: 0, reason: Some(reason), signal: None };
        self.emit(Body::BuildFinished(finished))?;
        self.show.finish(&mut interrupts).await.map_err(RunError::Report)?;
        Ok((BuildEnd { outcome, signal: None }, self.log))
    }

    /// Runs all steps. `early` is a signal that came before the start, `interrupts` are signals that ask the build to stop, `late` is what becomes known of the
    /// build while it runs. Gives back the log, so that its last word can be heard.
    pub async fn run(
        mut self,
        specs: Vec<StepSpec>,
        _options: Options,
        early: Option<i32>,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
        mut late: mpsc::UnboundedReceiver<Body>,
    ) -> Result<(BuildEnd, L), RunError<L::Error>> {
        let started = Instant::now();
        self.names = specs.iter().map(|spec| spec.name.clone()).collect();
        let mut state = State::new(specs);
        let (sender, mut messages) = mpsc::channel::<StepMessage>(MESSAGES);
        let mut controls: Vec<Option<StepControl>> = vec![None; self.names.len()];
        let mut effects = Vec::new();
        if let Some(signal) = early.or_else(|| interrupts.try_recv().ok()) {
            effects = state.handle(Input::Interrupt { signal }, started.elapsed());
        }
        effects.extend(state.handle(Input::Start, started.elapsed()));
        loop {
            for effect in effects {
                match effect {
                    Effect::Emit(step, body) => {
                        let step = step.map(|step| self.names[step].clone());
                        self.tell(step, body, None)?;
                    }
                    Effect::Start { step, attempt } => {
                        controls[step] = Some(self.steps.start(step, attempt, sender.clone()));
                    }
                    Effect::Stop(step, stop) => {
                        if stop == Stop::Kill {
                            // A terminal that stands still must not keep the end of a killed step waiting: what
                            // it printed last, which is not much, may wait beside the rest.
                            self.show.slots.add_permits(SHOWN_LATER);
                        }
                        if let Some(control) = &controls[step] {
                            // A step that has just ended does not listen any more.
                            let _ = control.send(stop);
                        }
                    }
                    Effect::Finish(end) => {
                        self.show.finish(&mut interrupts).await.map_err(RunError::Report)?;
                        return Ok((end, self.log));
                    }
                }
            }
            let input = tokio::select! {
                // Signals first: Ctrl-C works while a step floods.
                biased;
                Some(signal) = interrupts.recv() => Some(Input::Interrupt { signal }),
                () = until(started, state.deadline()) => Some(Input::Tick),
                Some(body) = late.recv() => {
                    self.tell(None, body, None)?;
                    None
                }
                Some((slot, message)) = self.show.slot_for(&mut messages) => self.message(message, slot)?,
            };
            effects = input.map_or_else(Vec::new, |input| state.handle(input, started.elapsed()));
        }
    }

    fn message(
        &mut self,
        message: StepMessage,
        slot: OwnedSemaphorePermit,
    ) -> Result<Option<Input>, RunError<L::Error>> {
        let StepMessage { step, content } = message;
        let body = match content {
            StepContent::Output(bytes) => Body::StepOutput(bytes),
            StepContent::Log(log) => Body::StepLog(log),
            StepContent::Artifacts(artifacts) => Body::StepArtifacts(artifacts),
            StepContent::Tests(tests) => Body::StepTests(tests),
            StepContent::Finished(end) => return Ok(Some(Input::Finished(step, end))),
        };
        self.tell(Some(self.names[step].clone()), body, Some(slot))?;
        Ok(None)
    }

    /// Kept first, then shown.
    fn tell(
        &mut self,
        step: Option<StepName>,
        body: Body,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(), RunError<L::Error>> {
        let event = self.log.append(step, body).map_err(RunError::Log)?;
        self.show.event(Shown { event, _slot: slot });
        Ok(())
    }
}

async fn until(started: Instant, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until((started + deadline).into()).await,
        None => std::future::pending().await,
    }
}

impl Show {
    fn start(mut sinks: Vec<Box<dyn Sink>>) -> Result<Self, String> {
        let (sender, mut events) = mpsc::unbounded_channel::<Shown>();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("report".into()).spawn(move || {
            let _end = end;
            while let Some(shown) = events.blocking_recv() {
                for sink in &mut sinks {
                    sink.event(&shown.event);
                }
                if events.is_empty() {
                    for sink in &mut sinks {
                        sink.idle();
                    }
                }
            }
        });
        let thread = thread.map_err(|error| error.to_string())?;
        let slots = Arc::new(Semaphore::new(SHOWN_LATER));
        Ok(Show { events: Some(sender), slots, ended, thread: Some(thread) })
    }

    /// The next message, with the right to show it.
    async fn slot_for(
        &self,
        messages: &mut mpsc::Receiver<StepMessage>,
    ) -> Option<(OwnedSemaphorePermit, StepMessage)> {
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        Some((slot, messages.recv().await?))
    }

    fn event(&self, shown: Shown) {
        if let Some(events) = &self.events {
            // The thread ends early only by a panic, which `finish` reports.
            let _ = events.send(shown);
        }
    }

    /// Waits until all is shown, or until somebody is tired of waiting for a terminal that stands still.
    async fn finish(&mut self, interrupts: &mut mpsc::UnboundedReceiver<i32>) -> Result<(), String> {
        self.events = None;
        tokio::select! {
            _ = &mut self.ended => {}
            Some(_) = interrupts.recv() => return Ok(()),
        }
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
        })
    }
}
