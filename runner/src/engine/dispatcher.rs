//! Waits for what happens, lets the state decide, and does what it says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    engine::{
        message::{StepContent, StepControl, StepIndex, StepMessage, Stop},
        ports::{Log, Sink, Steps},
        state::{BuildEnd, Effect, Input, Options, State, StepSpec},
    },
    event::{Body, BuildFinished, Event, Outcome, StepName},
    redact::{self, Redactor, Stream},
};

/// Messages of steps that may wait. Each may hold a piece of output, so this bounds the memory.
const MESSAGES: usize = 4;
/// How long events are gathered before they are shown: nobody sees less, and thousands of them a second would wake
/// the thread that shows them as often.
const GATHERING: Duration = Duration::from_millis(2);
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

/// What comes up while a build runs, from elsewhere than its steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Late {
    /// Something became known of the build.
    Known(Body),
    /// The build's lock is gone, for this reason: what runs is stopped, nothing more starts, and the build ends as an
    /// error.
    Cancel(String),
}

/// One build's run loop.
pub struct Dispatcher<L, S> {
    log: L,
    steps: S,
    names: Vec<StepName>,
    controls: Vec<Option<StepControl>>,
    /// Masks secrets in whatever is kept or shown.
    redactor: Redactor,
    /// The masked output of each step that runs.
    streams: Vec<Stream>,
    /// Events that come together are kept with one write.
    waiting: Vec<(Option<StepName>, Body)>,
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

#[derive(Default)]
struct Shown {
    events: Vec<Event>,
    /// Given back when the events have been shown.
    slot: Option<OwnedSemaphorePermit>,
    /// Who waits until the sinks hold back nothing of them.
    seen: Option<oneshot::Sender<()>>,
}

impl<L: Log, S: Steps> Dispatcher<L, S>
where
    L::Error: 'static,
{
    /// A dispatcher that masks what `redactor` knows, keeps events in `log`, then shows them in `sinks`.
    pub fn new(
        log: L,
        steps: S,
        redactor: Redactor,
        sinks: Vec<Box<dyn Sink>>,
    ) -> Result<Self, RunError<L::Error>> {
        Ok(Dispatcher {
            log,
            steps,
            names: Vec::new(),
            controls: Vec::new(),
            redactor,
            streams: Vec::new(),
            waiting: Vec::new(),
            show: Show::start(sinks).map_err(RunError::Report)?,
        })
    }

    /// Keeps and shows an event that does not come from a step.
    pub fn emit(&mut self, body: Body) -> Result<(), RunError<L::Error>> {
        self.tell(vec![(None, body)], Shown::default())
    }

    /// Shows an event that was kept before there was a dispatcher.
    pub fn show(&mut self, event: Event) {
        self.show.send(Shown { events: vec![event], ..Shown::default() });
    }

    /// Ends the build before its first step.
    pub async fn abandon(
        mut self,
        reason: String,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
    ) -> Result<(BuildEnd, L), RunError<L::Error>> {
        let outcome = Outcome::Error;
        let finished = BuildFinished { outcome, duration_ms: 0, reason: Some(reason), signal: None };
        self.say_used();
        self.waiting.push((None, Body::BuildFinished(finished)));
        self.flush()?;
        self.show.finish(&mut interrupts).await.map_err(RunError::Report)?;
        Ok((BuildEnd { outcome, signal: None }, self.log))
    }

    /// Runs all steps. `early` are signals that came before the start: after one, only what cleans up starts, and after
    /// two nothing. `interrupts` are signals that ask the
    /// build to stop, `late` is what comes up while it runs. Gives back the log, so that its last word can be heard.
    pub async fn run(
        mut self,
        specs: Vec<StepSpec>,
        options: Options,
        mut early: Vec<i32>,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
        mut late: mpsc::UnboundedReceiver<Late>,
    ) -> Result<(BuildEnd, L), RunError<L::Error>> {
        let started = Instant::now();
        self.names = specs.iter().map(|spec| spec.name.clone()).collect();
        self.controls = vec![None; specs.len()];
        self.streams.resize_with(specs.len(), Stream::default);
        let mut state = State::new(specs, options);
        let (sender, mut messages) = mpsc::channel::<StepMessage>(MESSAGES);
        if early.is_empty() {
            early.extend(interrupts.try_recv().ok());
        }
        let early = early.into_iter().map(|signal| Input::Interrupt { signal });
        let mut inputs = early.chain([Input::Start]).collect::<Vec<_>>();
        loop {
            for input in inputs {
                if let Some(end) = self.handle(&mut state, input, started, &sender)? {
                    self.show.finish(&mut interrupts).await.map_err(RunError::Report)?;
                    return Ok((end, self.log));
                }
            }
            let input = tokio::select! {
                // Signals first: Ctrl-C works while a step floods.
                biased;
                Some(signal) = interrupts.recv() => Some(Input::Interrupt { signal }),
                () = until(started, state.deadline()) => Some(Input::Tick),
                Some(late) = late.recv() => match late {
                    Late::Known(body) => {
                        self.emit(body)?;
                        None
                    }
                    Late::Cancel(reason) => Some(Input::Cancel { reason }),
                },
                Some((slot, message)) = self.show.slot_for(&mut messages) => self.message(message, slot)?,
            };
            inputs = input.into_iter().collect();
        }
    }

    /// Lets the state decide, and does what it says. The build's end, when it has come.
    fn handle(
        &mut self,
        state: &mut State,
        input: Input,
        started: Instant,
        sender: &mpsc::Sender<StepMessage>,
    ) -> Result<Option<BuildEnd>, RunError<L::Error>> {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            for effect in state.handle(next, started.elapsed()) {
                match effect {
                    Effect::Emit(step, body) => {
                        if let (Some(step), Body::StepFinished(result)) = (step, &body) {
                            self.controls[step] = None;
                            self.steps.finished(step, result);
                        }
                        if let Body::BuildFinished(_) = &body {
                            self.say_used();
                        }
                        self.waiting.push((step.map(|step| self.names[step].clone()), body));
                    }
                    Effect::Decide { step, statuses } => {
                        input = Some(Input::Decided(step, self.steps.decide(step, &statuses)));
                    }
                    Effect::Start { step, attempt } => {
                        // A step that ran is always in the journal.
                        self.flush()?;
                        self.controls[step] = Some(self.steps.start(step, attempt, sender.clone()));
                    }
                    Effect::Stop(step, stop) => self.stop(step, stop),
                    Effect::Finish(end) => {
                        self.flush()?;
                        return Ok(Some(end));
                    }
                }
            }
        }
        self.flush()?;
        Ok(None)
    }

    fn stop(&self, step: StepIndex, stop: Stop) {
        if stop == Stop::Kill {
            // A terminal that stands still must not keep the end of a killed step waiting: what it printed
            // last, which is not much, may wait beside the rest.
            self.show.slots.add_permits(SHOWN_LATER);
        }
        if let Some(control) = &self.controls[step] {
            // A step that has just ended does not listen any more.
            let _ = control.send(stop);
        }
    }

    /// What a step says becomes an event, or the state's business.
    fn message(
        &mut self,
        message: StepMessage,
        slot: OwnedSemaphorePermit,
    ) -> Result<Option<Input>, RunError<L::Error>> {
        let StepMessage { step, content } = message;
        let mut seen = None;
        let mut body = match content {
            StepContent::Output(bytes) => {
                let masked = self.streams[step].push(&mut self.redactor, bytes);
                if masked.is_empty() {
                    return Ok(None);
                }
                Body::StepOutput(masked)
            }
            StepContent::Log(log) => Body::StepLog(log),
            StepContent::Used(used) => Body::PluginUsed(used),
            StepContent::Artifacts(artifacts) => Body::StepArtifacts(artifacts),
            StepContent::Tests(tests) => Body::StepTests(tests),
            StepContent::Shell { event, shown } => {
                seen = Some(shown);
                Body::StepShell(event)
            }
            StepContent::Held => {
                self.say_rest(step);
                return Ok(Some(Input::Held(step)));
            }
            StepContent::Finished(end) => {
                self.say_rest(step);
                return Ok(Some(Input::Finished(step, end)));
            }
        };
        if let Body::StepTests(_) = body {
            redact::body(&self.redactor, &mut body);
        }
        if let Body::StepTests(tests) = &body {
            self.steps.tested(step, tests);
        }
        let events = vec![(Some(self.names[step].clone()), body)];
        self.tell(events, Shown { slot: Some(slot), seen, ..Shown::default() })?;
        Ok(None)
    }

    /// What was held back of a step's output, as it might have been the start of a secret, comes before its end.
    fn say_rest(&mut self, step: StepIndex) {
        let rest = self.streams[step].finish(&mut self.redactor);
        if !rest.is_empty() {
            self.waiting.push((Some(self.names[step].clone()), Body::StepOutput(rest)));
        }
    }

    /// What plugins used that do no step comes just before the build's end: all but what they use for that.
    fn say_used(&mut self) {
        let used = self.steps.used().into_iter();
        self.waiting.extend(used.map(|used| (None, Body::PluginUsed(used))));
    }

    /// Keeps and shows what the state said.
    fn flush(&mut self) -> Result<(), RunError<L::Error>> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.waiting);
        self.tell(events, Shown::default())
    }

    /// Masked, kept, then shown.
    fn tell(
        &mut self,
        mut events: Vec<(Option<StepName>, Body)>,
        shown: Shown,
    ) -> Result<(), RunError<L::Error>> {
        for (_, body) in &mut events {
            redact::body(&self.redactor, body);
        }
        let events = self.log.append(events).map_err(RunError::Log)?;
        self.show.send(Shown { events, ..shown });
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
                    shown.events.iter().for_each(|event| sink.event(event));
                    if shown.seen.is_some() || events.is_empty() {
                        sink.idle();
                    }
                }
                drop(shown.slot);
                if let Some(seen) = shown.seen {
                    // Who asked may have been stopped meanwhile.
                    let _ = seen.send(());
                }
                if events.is_empty() && !events.is_closed() {
                    // Unparked by the end.
                    std::thread::park_timeout(GATHERING);
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

    fn send(&self, shown: Shown) {
        if let Some(events) = &self.events {
            // The thread ends early only by a panic, which `finish` reports.
            let _ = events.send(shown);
        }
    }

    /// Waits until all is shown, or until somebody is tired of waiting for a terminal that stands still.
    async fn finish(&mut self, interrupts: &mut mpsc::UnboundedReceiver<i32>) -> Result<(), String> {
        self.events = None;
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
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

#[cfg(test)]
mod tests;
