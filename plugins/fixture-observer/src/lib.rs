//! An observer that misbehaves on request, for the tests of the runner.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use dcd_plugin_sdk::observer::{BuildInfo, Event, Payload};
use dcd_plugin_sdk::{BuildObserver, Diagnostic, Error, schemars};

/// What to do.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to write what it is told: kind, step and payload, a line each.
    #[serde(default)]
    pub file: Option<String>,
    /// A secret that is got when it is opened.
    #[serde(default)]
    pub secret: Option<String>,
    /// The call to misbehave in: `open`, `observe` or `close`.
    #[serde(default)]
    pub at: String,
    /// What to do there: `fail`, `panic` or `sleep`.
    #[serde(default)]
    pub misdeed: String,
}

/// The observer.
#[derive(Debug)]
pub struct Fixture {
    config: Config,
}

impl Config {
    #[allow(clippy::panic, reason = "it is what it is for")]
    fn reach(&self, call: &str) -> Result<(), Error> {
        if self.at != call {
            return Ok(());
        }
        match self.misdeed.as_str() {
            "panic" => panic!("the fixture panics in {call}, as it was told"),
            "sleep" => {
                std::thread::sleep(Duration::from_hours(1));
                Ok(())
            }
            _ => Err(Error::other(format!("the fixture fails in {call}, as it was told"))),
        }
    }

    fn write(&self, line: &str) -> Result<(), Error> {
        if let Some(file) = &self.file {
            let mut file = OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(file, "{line}")?;
        }
        Ok(())
    }
}

impl BuildObserver for Fixture {
    const SUMMARY: &'static str = "Misbehave";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        match config.at.as_str() {
            "" | "open" | "observe" | "close" => Vec::new(),
            other => vec![Diagnostic::new("/at", format!("there is no call `{other}`"))],
        }
    }

    fn open(config: Config, build: BuildInfo) -> Result<Self, Error> {
        config.reach("open")?;
        if let Some(name) = &config.secret {
            dcd_plugin_sdk::secrets::get(name)?;
        }
        config.write(&format!("open {} {} {}", build.component, build.pipeline, build.trace_id))?;
        Ok(Fixture { config })
    }

    fn observe(&self, events: Vec<Event>) -> Result<(), Error> {
        self.config.reach("observe")?;
        for event in events {
            let Payload::Json(payload) = event.payload else { return Err(Error::other("there are bytes")) };
            let step = event.step.unwrap_or_default();
            self.config.write(&format!("{} {} {step} {payload}", event.seq, event.kind))?;
        }
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        self.config.reach("close")?;
        self.config.write("close")
    }
}

dcd_plugin_sdk::export_observer!(Fixture, asks: {
    fs: "to write what it is told",
    secrets: "to get the one that a test names",
});
