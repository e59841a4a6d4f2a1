//! Build observers: they follow builds, to tell people or other systems of them.

mod adapter;

pub use adapter::ObserverAdapter;

pub use crate::bindings::history::dcd::plugin::build_types::{Event, Payload};

use crate::config::Config;
use crate::types::{Diagnostic, Error};

/// Follows a build.
///
/// Best effort: events come after they are durable, one that is slow misses some, and no error of it fails a build.
/// Methods take `&self`; an instance is used by one call at a time, so a [`std::cell::RefCell`] is enough for state.
///
/// ```
/// use dcd_plugin_sdk::{BuildObserver, Error, http, observer::{BuildInfo, Event}};
///
/// /// Count builds.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Config {
///     /// Where to count.
///     url: String,
/// }
///
/// struct Counter {
///     url: String,
///     component: String,
/// }
///
/// impl BuildObserver for Counter {
///     const SUMMARY: &'static str = "Count builds";
///     type Config = Config;
///
///     fn open(config: Config, build: BuildInfo) -> Result<Self, Error> {
///         Ok(Counter { url: config.url, component: build.component })
///     }
///
///     fn observe(&self, events: Vec<Event>) -> Result<(), Error> {
///         for event in events.iter().filter(|event| event.kind == "build.finished") {
///             let url = format!("{}/{}?at={}", self.url, self.component, event.at);
///             http::Request::post(url).send()?;
///         }
///         Ok(())
///     }
/// }
///
/// dcd_plugin_sdk::export_observer!(Counter, asks: { http: "to count" });
/// ```
pub trait BuildObserver: Sized + 'static {
    /// One line that says what it does with builds.
    const SUMMARY: &'static str;

    /// The observer's settings.
    type Config: Config;

    /// Finds what a schema cannot. Called before the build starts, so it must be quick and do no I/O.
    fn validate(config: &Self::Config) -> Vec<Diagnostic> {
        let _ = config;
        Vec::new()
    }

    /// Called once, before everything below.
    fn open(config: Self::Config, build: BuildInfo) -> Result<Self, Error>;

    /// Takes events in order, each once. A number that is not there was missed; what steps print is left out.
    fn observe(&self, events: Vec<Event>) -> Result<(), Error>;

    /// No event follows: sends what is held back.
    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The build that is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub struct BuildInfo {
    /// The build's id, a UUID.
    pub id: String,
    /// What is built.
    pub component: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The trace that the build is part of: 32 hexadecimal digits.
    pub trace_id: String,
    /// The build's own span in it: 16 hexadecimal digits.
    pub span_id: String,
    /// The span that the build is part of, where whoever started dcd named one (`TRACEPARENT`).
    #[serde(default)]
    pub parent_span_id: Option<String>,
    /// What goes with that (`TRACESTATE`).
    #[serde(default)]
    pub trace_state: Option<String>,
}

impl BuildInfo {
    /// The span of a step's attempt, which the step's process finds in its `TRACEPARENT`: FNV-1a (64 bits) of
    /// `BUILD_ID/STEP/ATTEMPT`.
    pub fn attempt_span(&self, step: &str, attempt: u32) -> String {
        let text = format!("{}/{step}/{attempt}", self.id);
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_known_beforehand() {
        let build = BuildInfo { id: "0190".into(), ..BuildInfo::default() };
        assert_eq!(build.attempt_span("test", 1), "22b63463ac3011dc");
        assert_ne!(build.attempt_span("test", 1), build.attempt_span("test", 2));
    }
}
