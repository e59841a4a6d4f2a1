//! A build observer that sends each build as a trace, over OTLP/HTTP as JSON, by OpenTelemetry's conventions for
//! CI/CD.
//!
//! ```json
//! { "observers": [{ "uses": "otlp", "with": { "endpoint": "https://otel.example" } }] }
//! ```
//!
//! A build is a span, and so is each attempt of a step; a step's process finds its own in `TRACEPARENT`.

mod config;
mod export;
mod spans;
mod wire;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use dcd_plugin_sdk::observer::{BuildInfo, Event};
use dcd_plugin_sdk::{BuildObserver, Diagnostic, Error, secrets};

pub use config::Config;
use config::Target;
use spans::Spans;
use wire::Span;

/// Spans are sent when so many are ready,
const MANY: usize = 256;
/// or when so much time has passed.
const LONG: Duration = Duration::from_secs(5);
/// What waits for a collector that does not answer. The oldest are dropped.
const MOST: usize = 20_000;

/// The observer.
#[derive(Debug)]
pub struct Otlp {
    target: Target,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    spans: Spans,
    /// Ended, and not sent yet.
    ready: Vec<Span>,
    sent: Instant,
}

impl BuildObserver for Otlp {
    const SUMMARY: &'static str = "Send builds as traces over OTLP/HTTP";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        config.findings()
    }

    fn open(config: Config, build: BuildInfo) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let target = Target::new(config, &build.component, &variable, &|name| secrets::get(name))?;
        let state = State { spans: Spans::new(build), ready: Vec::new(), sent: Instant::now() };
        Ok(Otlp { target, state: RefCell::new(state) })
    }

    fn observe(&self, events: Vec<Event>) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let State { spans, ready, .. } = &mut *state;
        ready.extend(events.iter().filter_map(|event| spans.event(event)));
        if ready.len() >= MANY || (!ready.is_empty() && state.sent.elapsed() >= LONG) {
            return self.send(&mut state);
        }
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        if state.ready.is_empty() {
            return Ok(());
        }
        self.send(&mut state)
    }
}

impl Otlp {
    fn send(&self, state: &mut State) -> Result<(), Error> {
        state.sent = Instant::now();
        let sent = export::send(&self.target, &state.ready);
        // Sent, or refused for good: only what a collector may still take is kept.
        if !matches!(sent, Err(Error::Unavailable(_))) {
            state.ready.clear();
        }
        let over = state.ready.len().saturating_sub(MOST);
        state.ready.drain(..over);
        sent
    }
}

dcd_plugin_sdk::export_observer!(Otlp, asks: {
    http: "to reach the collector",
    env: "to read OTEL_* variables",
    secrets: "to send headers that hold a token"
});

#[cfg(test)]
mod tests;
