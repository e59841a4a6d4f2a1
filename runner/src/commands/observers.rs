//! Telling observers of the build, beside it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    commands::{output, steps::BuildContext},
    engine::ports::Sink,
    event::{Body, Event},
    plugin::{Host, PluginError, observer::ObserverPlugin},
    text,
    trace::Trace,
};

/// Events that may wait for an observer.
const WAITING: usize = 4096;
/// How long events are gathered before an observer is called.
const GATHERING: Duration = Duration::from_millis(100);
/// Events in one call.
const BATCH: usize = 512;
/// How long the end of a build waits for its observers.
const PATIENCE: Duration = Duration::from_secs(10);

/// The observers of one build.
pub(super) struct Observers {
    all: Vec<Observer>,
    /// The build's place in a trace, if there is anybody to send it.
    trace: Option<Trace>,
}

struct Observer {
    name: String,
    missed: Arc<AtomicU64>,
    work: JoinHandle<Result<(), PluginError>>,
}

/// Passes events on to who has room for them.
struct Feed {
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicU64>,
}

impl Observers {
    /// Opens them, on the plugins' runtime. The sinks are for the dispatcher; when they are gone, the build is over.
    pub(super) fn start(
        host: Option<&Host>,
        plugins: Vec<ObserverPlugin>,
        context: &BuildContext,
        pipeline: &str,
    ) -> (Self, Vec<Box<dyn Sink>>) {
        let trace = trace(&context.id);
        let mut build = json!(trace);
        build["id"] = json!(context.id);
        build["component"] = json!(context.component);
        build["pipeline"] = json!(pipeline);
        let (mut observers, mut sinks) = (Vec::new(), Vec::new());
        for plugin in plugins {
            let Some(host) = host else { break };
            let missed = Arc::new(AtomicU64::new(0));
            let (events, coming) = mpsc::channel(WAITING);
            let sink: Box<dyn Sink> = Box::new(Feed { events, missed: missed.clone() });
            sinks.push(sink);
            let name = plugin.name().to_owned();
            observers.push(Observer {
                name,
                missed,
                work: host.spawn(follow(plugin, build.to_string(), coming)),
            });
        }
        let trace = (!observers.is_empty()).then_some(trace);
        (Observers { all: observers, trace }, sinks)
    }

    /// The build's place in a trace, if there is anybody to send it.
    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Waits for them, but not for long, and says what went wrong.
    pub(super) async fn finish(self, mut interrupts: mpsc::UnboundedReceiver<i32>) {
        let until = tokio::time::Instant::now() + PATIENCE;
        for Observer { name, missed, work } in self.all {
            let stop = work.abort_handle();
            let problem = tokio::select! {
                biased;
                done = work => match done {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(complaint(error)),
                    Err(error) => Some(format!("observer {name} broke: {error}")),
                },
                Some(_) = interrupts.recv() => Some(format!("observer {name} was not waited for")),
                () = tokio::time::sleep_until(until) => {
                    let patience = text::duration(PATIENCE);
                    Some(format!("observer {name} was still at work {patience} after the build's end"))
                }
            };
            stop.abort();
            if let Some(problem) = problem {
                output::warn(&problem);
            }
            match missed.load(Ordering::Relaxed) {
                0 => {}
                missed => output::warn(&format!("observer {name} was too slow and missed {missed} events")),
            }
        }
    }
}

impl Sink for Feed {
    fn event(&mut self, event: &Event) {
        if matches!(event.body, Body::StepOutput(_)) || self.events.is_closed() {
            return;
        }
        if self.events.try_send(event.clone()).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells one observer of all that comes. What it objects to once is no reason to tell it no more.
async fn follow(
    plugin: ObserverPlugin,
    build: String,
    mut coming: mpsc::Receiver<Event>,
) -> Result<(), PluginError> {
    let mut observing = plugin.open(&build).await?;
    let mut objection = None;
    while let Some(first) = coming.recv().await {
        if coming.is_empty() && !coming.is_closed() {
            tokio::time::sleep(GATHERING).await;
        }
        let mut events = vec![first];
        while let (true, Ok(event)) = (events.len() < BATCH, coming.try_recv()) {
            events.push(event);
        }
        if let Err(error) = observing.observe(events).await? {
            objection = Some(error);
        }
    }
    let closed = observing.close().await;
    objection.map_or(closed, Err)
}

/// The build's place in the trace of whoever started us, or in one of its own.
fn trace(build: &str) -> Trace {
    let variable = |name| std::env::var(name).ok();
    Trace::new(build, variable("TRACEPARENT").as_deref(), variable("TRACESTATE").as_deref())
}

fn complaint(error: PluginError) -> String {
    let help = error.help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!("observer {}{help}", error.message)
}
