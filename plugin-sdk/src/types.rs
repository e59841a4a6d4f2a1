//! The plain data of `dcd:plugin/types`, by hand: see [`crate::bindings`].

use std::fmt;

/// UTF-8 JSON text.
pub type Json = String;

/// Milliseconds since the Unix epoch, UTC.
pub type UnixMs = u64;

/// What went wrong. The case alone decides what the runner does next.
///
/// It is made by `?` from the errors of [`std::io`], [`serde_json`] and [`crate::http`], and by
/// [`Error::other`] and its siblings from a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The user's configuration is wrong. Never retried.
    InvalidConfig(Vec<Diagnostic>),
    /// Credentials or policy refused the call. Never retried.
    Denied(Fault),
    /// The named thing does not exist.
    NotFound(Fault),
    /// Transient: network, throttling, a 5xx answer. Retried with back-off.
    Unavailable(Fault),
    /// The plugin does not implement this optional operation.
    Unsupported(String),
    /// Anything else. Not retried.
    Other(Fault),
}

/// One thing that went wrong, for a person to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// One sentence, shown to the user.
    pub message: String,
    /// A stable machine code chosen by the plugin, such as `dynamodb/ThrottlingException`.
    pub code: Option<String>,
    /// What the user should try.
    pub help: Option<String>,
    /// The shortest wait before the next attempt, in milliseconds.
    pub retry_after_ms: Option<u32>,
}

/// One thing that is wrong with a step's or a backend's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic {
    /// A JSON Pointer (RFC 6901) into the configuration; `""` is the whole of it.
    pub pointer: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What the user should try.
    pub help: Option<String>,
}

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line that says what the plugin does.
    pub summary: String,
    /// The JSON Schema (2020-12) of the configuration.
    pub config_schema: Json,
    /// Optional operations that it implements, such as `locks`.
    pub features: Vec<String>,
}

impl Fault {
    /// A fault that says `message` and nothing else.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Adds a stable code that programs can match.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds what the user should try.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the shortest wait before the next attempt, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u32) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl Diagnostic {
    /// Says that the value at `pointer` is wrong.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), help: None }
    }

    /// Adds what the user should try.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}
