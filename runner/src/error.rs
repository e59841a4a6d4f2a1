//! The one place where an error becomes words and an exit code.

use std::io::Write;

use crate::{report::Style, text};

/// What the process's exit code says. `docs/exit-codes.md` is the public list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// A step said no.
    StepFailed,
    /// The command line or the pipeline file is wrong.
    Usage,
    /// DCD, its environment or a plugin could not do its job.
    Environment,
    /// The steps passed, but the history backend does not have the build.
    HistoryNotWritten,
    /// What was compared differs; what was checked is not as it should be.
    Difference,
    /// A step took longer than it was allowed to.
    TimedOut,
    /// Ended by this signal.
    Signal(i32),
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::StepFailed => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            Exit::HistoryNotWritten => 4,
            Exit::Difference => 10,
            Exit::TimedOut => 124,
            Exit::Signal(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
        }
    }
}

/// Why a command gave up.
#[derive(Debug)]
pub struct CommandError {
    /// What the exit code says.
    pub exit: Exit,
    /// What happened, and where.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Rendered already, with its own headline: printed as it is.
    pub rendered: bool,
}

impl CommandError {
    /// The command line or a file that the user wrote is wrong.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        CommandError { exit: Exit::Usage, message: message.into(), help: Some(help.into()), rendered: false }
    }

    /// DCD or its environment failed.
    pub fn environment(message: impl Into<String>) -> Self {
        CommandError { exit: Exit::Environment, message: message.into(), help: None, rendered: false }
    }

    /// A text that already has its headline, places and help.
    pub fn rendered(exit: Exit, text: String) -> Self {
        CommandError { exit, message: text, help: None, rendered: true }
    }

    /// With what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Prints it, and says with which code to exit.
    pub fn print(&self) -> Exit {
        let stderr = std::io::stderr();
        let style = Style::of(&stderr);
        let mut text = String::new();
        if self.rendered {
            text.push_str(&self.message);
        } else {
            let message = String::from_utf8_lossy(&text::harmless(self.message.as_bytes())).into_owned();
            text.push_str(&format!("{} {message}\n", style.bad("error:")));
        }
        if let Some(help) = &self.help {
            let help = String::from_utf8_lossy(&text::harmless(help.as_bytes())).into_owned();
            text.push_str(&format!("{} {help}\n", style.warning("help:")));
        }
        // With stderr closed there is nobody left to tell.
        let _ = stderr.lock().write_all(text.as_bytes());
        self.exit
    }
}
