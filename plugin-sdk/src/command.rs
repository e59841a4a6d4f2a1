//! Programs, run by the runner outside the sandbox. Only step types may, and only programs granted by `exec`.

use std::fmt;
use std::time::Duration;

use crate::{Error, StepError};

/// A program to run. What it prints is the step's output, like what the plugin itself prints.
///
/// ```no_run
/// # fn f(cx: dcd_plugin_sdk::StepContext) -> Result<(), dcd_plugin_sdk::StepError> {
/// cx.command("helm").args(["upgrade", "--install", "shop", "./chart"]).env("HELM_DEBUG", "1").run()?.success()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a command does nothing until `run`"]
pub struct Command {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, Option<String>)>,
    pub(crate) cwd: Option<String>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) capture: Capture,
    pub(crate) capture_limit: u32,
}

/// Which of a program's streams are returned; all are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// None of them.
    #[default]
    None,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, apart.
    Both,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The program, as it was named.
    pub program: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output, when captured.
    pub stdout: Vec<u8>,
    /// Its standard error, when captured.
    pub stderr: Vec<u8>,
    /// True when it printed more than the limit, and the rest was dropped from what is captured.
    pub truncated: bool,
}

impl Command {
    /// A program, found on the runner's `PATH` unless it is a path.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: None,
            capture: Capture::None,
            capture_limit: 1 << 20,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable on top of the step's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Takes a variable out of the step's environment.
    pub fn env_remove(mut self, name: impl Into<String>) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// Sets the directory to run in: absolute, or relative to the workspace. Default: the workspace.
    pub fn current_dir(mut self, path: impl Into<String>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Sets what the program reads on standard input. Default: nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Ends the program after this time. Default: only the step's own limit does.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Returns output too; at most 1 MiB of each stream unless [`capture_limit`](Self::capture_limit) says
    /// more.
    pub fn capture(mut self, capture: Capture) -> Self {
        self.capture = capture;
        self
    }

    /// Sets how many bytes of each stream are returned.
    pub fn capture_limit(mut self, bytes: u32) -> Self {
        self.capture_limit = bytes;
        self
    }

    /// The program's name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The arguments so far.
    pub fn arguments(&self) -> &[String] {
        &self.args
    }

    /// What was set and removed of the environment so far; `None` for what was removed.
    pub fn variables(&self) -> &[(String, Option<String>)] {
        &self.env
    }

    /// The directory to run in, if one was set.
    pub fn directory(&self) -> Option<&str> {
        self.cwd.as_deref()
    }

    /// What the program reads on standard input.
    pub fn input(&self) -> &[u8] {
        &self.stdin
    }

    /// Runs the program and waits for its end. A program that ends with another code than 0 is no error here:
    /// see [`Exit::success`].
    pub fn run(self) -> Result<Exit, StepError> {
        crate::host::run(&self)
    }
}

impl Exit {
    /// An end of this program with this code; tests make ends with it.
    pub fn new(program: impl Into<String>, code: i32) -> Self {
        Self { program: program.into(), code: Some(code), ..Self::default() }
    }

    /// Adds captured standard output.
    #[must_use]
    pub fn stdout(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdout = bytes.into();
        self
    }

    /// Adds captured standard error.
    #[must_use]
    pub fn stderr(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stderr = bytes.into();
        self
    }

    /// Makes any other end than code 0 the step's failure.
    pub fn success(self) -> Result<Self, StepError> {
        if self.code == Some(0) { Ok(self) } else { Err(StepError::failed(self.to_string())) }
    }

    /// The captured standard output as text.
    pub fn stdout_text(&self) -> Result<&str, Error> {
        self.text(&self.stdout)
    }

    /// The captured standard error as text.
    pub fn stderr_text(&self) -> Result<&str, Error> {
        self.text(&self.stderr)
    }

    fn text<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, Error> {
        std::str::from_utf8(bytes).map_err(|error| {
            Error::other(format!("{} printed something that is not UTF-8: {error}", self.program))
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "{} exited with code {code}", self.program),
            (None, Some(signal)) => write!(f, "{} was ended by signal {signal}", self.program),
            (None, None) => write!(f, "{} ended in an unknown way", self.program),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    #[test]
    fn an_exit_code_other_than_0_fails_the_step_when_asked() {
        mock::on_command(|command| {
            assert_eq!(command.arguments(), ["-c", "exit 3"]);
            Ok(Exit::new(command.program(), 3).stdout("3"))
        });
        let exit = Command::new("sh").arg("-c").args(["exit 3"]).run();
        assert_eq!(exit.as_ref().map(Exit::stdout_text), Ok(Ok("3")));
        assert_eq!(exit.and_then(Exit::success), Err(StepError::failed("sh exited with code 3")));
    }
}
