//! Stands in for the runner in `cargo test`, per thread, and so per test. Not there in WebAssembly.
//!
//! Nothing is granted unless a test says so. What the plugin asked of the runner can be read afterwards:
//! [`requests`], [`commands`], [`logged`], [`progress`]. Each of these takes what there is, so the next call
//! gives only what came since. [`reset`] begins anew, for tests that go through a table:
//!
//! ```
//! use dcd_plugin_sdk::{StepContext, StepError, StepOutput, StepType, http, mock};
//! use dcd_plugin_sdk::serde_json::json;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Config { url: String }
//!
//! struct Healthy;
//!
//! impl StepType for Healthy {
//!     const SUMMARY: &'static str = "Fail unless a service is healthy";
//!     type Config = Config;
//!
//!     fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
//!         let token = cx.secret("TOKEN")?;
//!         let request = http::Request::get(config.url).header("authorization", format!("Bearer {token}"));
//!         match request.send()?.status() {
//!             200 => Ok(StepOutput::new().output("healthy", true)),
//!             status => Err(StepError::failed(format!("the service says {status}"))),
//!         }
//!     }
//! }
//!
//! for (status, expected) in [
//!     (200, Ok(StepOutput::new().output("healthy", true))),
//!     (503, Err(StepError::failed("the service says 503"))),
//! ] {
//!     mock::reset();
//!     mock::set_secret("TOKEN", "s3cr3t");
//!     mock::on_http(move |_| Ok(http::Response::new(status)));
//!     let config = json!({ "url": "https://shop.example/health" });
//!     assert_eq!(mock::run::<Healthy>(config, StepContext::default()), expected);
//!     assert_eq!(mock::requests()[0].header_value("authorization"), Some("Bearer s3cr3t"));
//! }
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::command::{Command, Exit};
use crate::http::{self, Client, Request, Response};
use crate::log::Level;
use crate::{Error, StepContext, StepError, StepOutput, StepType};

type OnHttp = dyn FnMut(&Request) -> Result<Response, http::Error>;
type OnCommand = dyn FnMut(&Command) -> Result<Exit, StepError>;

#[derive(Default)]
struct Runner {
    on_http: Option<Box<OnHttp>>,
    on_command: Option<Box<OnCommand>>,
    secrets: BTreeMap<String, String>,
    requests: Vec<Request>,
    commands: Vec<Command>,
    logged: Vec<Logged>,
    progress: Vec<Progress>,
    /// How often `cancelled` is still answered with no.
    cancelled_after: Option<u32>,
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

/// How far the plugin said that it is: see [`StepContext::progress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much; 0 when it is not known.
    pub total: u64,
    /// Of what.
    pub label: String,
}

/// Runs a step as the runner does: reads the configuration, has it validated, and then does the work.
///
/// What [`StepType::validate`] finds is [`Error::InvalidConfig`] here, as is what cannot be read.
// By value: so a test's `json!` reads best.
#[allow(clippy::needless_pass_by_value)]
pub fn run<T: StepType>(config: serde_json::Value, cx: StepContext) -> Result<StepOutput, StepError> {
    let config: T::Config = crate::parse(&config.to_string())?;
    let wrong = T::validate(&config);
    if wrong.is_empty() { T::run(config, cx) } else { Err(Error::InvalidConfig(wrong).into()) }
}

/// Forgets everything: grants, answers, and what the plugin asked.
pub fn reset() {
    runner(|runner| *runner = Runner::default());
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

/// Cancels the step: [`StepContext::cancelled`] answers true.
pub fn cancel() {
    cancel_after(0);
}

/// Cancels the step once it has asked so many times whether it is cancelled.
pub fn cancel_after(questions: u32) {
    runner(|runner| runner.cancelled_after = Some(questions));
}

/// Takes the requests that were sent so far.
pub fn requests() -> Vec<Request> {
    runner(|runner| std::mem::take(&mut runner.requests))
}

/// Takes the commands that were run so far.
pub fn commands() -> Vec<Command> {
    runner(|runner| std::mem::take(&mut runner.commands))
}

/// Takes the lines that were logged so far.
pub fn logged() -> Vec<Logged> {
    runner(|runner| std::mem::take(&mut runner.logged))
}

/// Takes what was said so far about how far the step is.
pub fn progress() -> Vec<Progress> {
    runner(|runner| std::mem::take(&mut runner.progress))
}

pub(crate) fn send(client: &Client, request: &Request) -> Result<Response, http::Error> {
    let url = http::Url::parse(request.url())?;
    runner(|runner| runner.requests.push(request.clone()));
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

pub(crate) fn send_all(
    client: &Client,
    requests: &[Request],
    _: usize,
) -> Vec<Result<Response, http::Error>> {
    requests.iter().map(|request| send(client, request)).collect()
}

/// Time passes at once.
pub(crate) fn sleep(_: std::time::Duration) {}

pub(crate) fn run_command(command: &Command) -> Result<Exit, StepError> {
    runner(|runner| runner.commands.push(command.clone()));
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
    runner(|runner| match &mut runner.cancelled_after {
        None => false,
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
    })
}

pub(crate) fn say_progress(done: u64, total: u64, label: &str) {
    runner(|runner| runner.progress.push(Progress { done, total, label: label.to_owned() }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Diagnostic;

    #[test]
    fn nothing_is_granted_unless_a_test_says_so() {
        assert!(matches!(Request::get("https://a.example").send(), Err(http::Error::Denied { .. })));
        assert!(matches!(secret("x"), Err(Error::Denied(_))));
        assert!(matches!(Command::new("ls").run(), Err(StepError::Broken(Error::Denied(_)))));
        assert!(!cancelled());
    }

    #[test]
    fn logged_lines_can_be_read_once() {
        crate::log::info("hello", &[("to", "you")]);
        let line =
            Logged { level: Level::Info, message: "hello".into(), fields: vec![("to".into(), "you".into())] };
        assert_eq!(logged(), [line]);
        assert_eq!(logged(), []);
    }

    #[test]
    fn what_was_asked_can_be_read_and_forgotten() {
        on_command(|command| Ok(Exit { program: command.program().into(), ..Exit::default() }));
        assert!(Command::new("ls").arg("-l").run().is_ok());
        assert!(Request::get("https://a.example").send().is_err());
        say_progress(1, 2, "files");
        assert_eq!(commands(), [Command::new("ls").arg("-l")]);
        assert_eq!(requests(), [Request::get("https://a.example")]);
        assert_eq!(progress(), [Progress { done: 1, total: 2, label: "files".into() }]);
        set_secret("x", "y");
        reset();
        assert!(secret("x").is_err() && Command::new("ls").run().is_err());
    }

    #[test]
    fn a_step_can_be_cancelled_in_the_middle() {
        cancel_after(2);
        assert_eq!([cancelled(), cancelled(), cancelled(), cancelled()], [false, false, true, true]);
    }

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Count {
        to: u8,
    }

    struct Counting;

    impl StepType for Counting {
        const SUMMARY: &'static str = "Count";
        type Config = Count;

        fn validate(config: &Count) -> Vec<Diagnostic> {
            if config.to == 0 { vec![Diagnostic::new("/to", "must be at least 1")] } else { Vec::new() }
        }

        fn run(config: Count, _: StepContext) -> Result<StepOutput, StepError> {
            Ok(StepOutput::new().output("to", config.to))
        }
    }

    #[test]
    fn a_step_runs_as_the_runner_runs_it() {
        let count = |to: i32| run::<Counting>(serde_json::json!({ "to": to }), StepContext::default());
        assert_eq!(count(3), Ok(StepOutput::new().output("to", 3)));
        let wrong = |message: &str| Err(Error::invalid_config("/to", message).into());
        assert_eq!(count(0), wrong("must be at least 1"));
        assert_eq!(count(-1), wrong("invalid value: integer `-1`, expected u8"));
    }
}
