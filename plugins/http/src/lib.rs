//! A step type that sends an HTTP request and checks the answer.
//!
//! ```json
//! { "uses": "http", "with": { "url": "https://chat.example/room", "json": { "text": "released" }, "retries": 3 } }
//! ```
//!
//! It prints one line per attempt. Values of headers and of the query are never printed, as they may hold
//! tokens.

mod config;
mod exchange;
mod plan;
mod redirect;
mod take;

use dcd_plugin_sdk::{Diagnostic, Error, StepContext, StepError, StepOutput, StepType};

pub use config::{Auth, Config, Header, Secret};
pub use plan::Plan;

/// The step type.
#[derive(Debug)]
pub struct Http;

impl StepType for Http {
    const SUMMARY: &'static str = "Send an HTTP request and check the answer";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        Plan::new(config).err().unwrap_or_default()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let plan = Plan::new(&config).map_err(Error::InvalidConfig)?;
        exchange::run(&plan, &cx)
    }
}

dcd_plugin_sdk::export_step!(Http, asks: {
    http: "to send the request",
    secrets: "to send those that `headers` and `auth` name",
    fs: "to read `file` and to write `save_to`",
});
