//! Stands in for the runner in `cargo test`, per thread, and so per test. Not there in WebAssembly.
//!
//! ```
//! use dcd_plugin_sdk::{http, mock, secrets};
//!
//! mock::on_http(|request| {
//!     assert_eq!(request.url(), "https://example.com/");
//!     Ok(http::Response::new(404).body("nothing here"))
//! });
//! mock::set_secret("token", "s3cr3t");
//!
//! assert_eq!(http::Request::get("https://example.com/").send()?.status(), 404);
//! assert_eq!(secrets::get("token")?, "s3cr3t");
//! # Ok::<(), dcd_plugin_sdk::Error>(())
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::command::{Command, Exit};
use crate::http::{self, Client, Request, Response};
use crate::log::Level;
use crate::{Error, StepError};

type OnHttp = dyn FnMut(&Request) -> Result<Response, http::Error>;
type OnCommand = dyn FnMut(&Command) -> Result<Exit, StepError>;

#[derive(Default)]
struct Runner {
    on_http: Option<Box<OnHttp>>,
    on_command: Option<Box<OnCommand>>,
    secrets: BTreeMap<String, String>,
    logged: Vec<Logged>,
    cancelled: bool,
}

thread_local! {
    static RUNNER: RefCell<Runner> = RefCell::default();
}

fn runner<R>(act: impl FnOnce(&mut Runner) -> R) -> R {
    RUNNER.with_borrow_mut(act)
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// Its named values.
    pub fields: Vec<(String, String)>,
}

/// Answers HTTP requests from now on. Without it every request is denied.
pub fn on_http(handler: impl FnMut(&Request) -> Result<Response, http::Error> + 'static) {
    runner(|runner| runner.on_http = Some(Box::new(handler)));
}

/// Runs commands from now on. Without it every command is denied.
pub fn on_command(handler: impl FnMut(&Command) -> Result<Exit, StepError> + 'static) {
    runner(|runner| runner.on_command = Some(Box::new(handler)));
}

/// Grants a secret.
pub fn set_secret(name: impl Into<String>, value: impl Into<String>) {
    runner(|runner| _ = runner.secrets.insert(name.into(), value.into()));
}

/// Cancels the step.
pub fn cancel() {
    runner(|runner| runner.cancelled = true);
}

/// Takes the lines that were logged so far.
pub fn logged() -> Vec<Logged> {
    runner(|runner| std::mem::take(&mut runner.logged))
}

pub(crate) fn send(client: &Client, request: &Request) -> Result<Response, http::Error> {
    let url = http::Url::parse(request.url())?;
    if client.is_cancelled() {
        return Err(http::Error::Cancelled(format!("the request to {} was given up", url.origin())));
    }
    // Out of its place while it runs: it may call the mock itself.
    let Some(mut handler) = runner(|runner| runner.on_http.take()) else {
        return Err(http::Error::denied(&url));
    };
    let answer = handler(request);
    runner(|runner| _ = runner.on_http.get_or_insert(handler));
    answer
}

pub(crate) fn run(command: &Command) -> Result<Exit, StepError> {
    let Some(mut handler) = runner(|runner| runner.on_command.take()) else {
        return Err(Error::denied(format!("the plugin is not granted to run {}", command.program())).into());
    };
    let answer = handler(command);
    runner(|runner| _ = runner.on_command.get_or_insert(handler));
    answer
}

pub(crate) fn secret(name: &str) -> Result<String, Error> {
    runner(|runner| runner.secrets.get(name).cloned())
        .ok_or_else(|| Error::denied(format!("the plugin is not granted the secret {name}")))
}

pub(crate) fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    runner(|runner| runner.logged.push(Logged { level, message: message.to_owned(), fields }));
}

pub(crate) fn cancelled() -> bool {
    runner(|runner| runner.cancelled)
}

pub(crate) fn progress(_done: u64, _total: u64, _label: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_unless_a_test_says_so() {
        assert!(matches!(Request::get("https://a.example").send(), Err(http::Error::Denied { .. })));
        assert!(matches!(secret("x"), Err(Error::Denied(_))));
        assert!(matches!(Command::new("ls").run(), Err(StepError::Broken(Error::Denied(_)))));
    }

    #[test]
    fn logged_lines_can_be_read_once() {
        crate::log::info("hello", &[("to", "you")]);
        let line =
            Logged { level: Level::Info, message: "hello".into(), fields: vec![("to".into(), "you".into())] };
        assert_eq!(logged(), [line]);
        assert_eq!(logged(), []);
    }
}
