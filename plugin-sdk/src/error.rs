//! How the errors of other crates become [`Error`], so that `?` works everywhere.

use std::fmt;
use std::io;

use crate::types::{Diagnostic, Error, Fault};

impl Error {
    /// The configuration is wrong in one place.
    pub fn invalid_config(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidConfig(vec![Diagnostic::new(pointer, message)])
    }

    /// Credentials or policy refused the call.
    pub fn denied(fault: impl Into<Fault>) -> Self {
        Self::Denied(fault.into())
    }

    /// The named thing does not exist.
    pub fn not_found(fault: impl Into<Fault>) -> Self {
        Self::NotFound(fault.into())
    }

    /// It may work later.
    pub fn unavailable(fault: impl Into<Fault>) -> Self {
        Self::Unavailable(fault.into())
    }

    /// Anything else.
    pub fn other(fault: impl Into<Fault>) -> Self {
        Self::Other(fault.into())
    }

    /// Adds what the user should try, in place of what was there.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        match &mut self {
            Self::InvalidConfig(diagnostics) => {
                if let Some(first) = diagnostics.first_mut() {
                    first.help = Some(help.into());
                }
            }
            Self::Denied(fault) | Self::NotFound(fault) | Self::Unavailable(fault) | Self::Other(fault) => {
                fault.help = Some(help.into());
            }
            Self::Unsupported(_) => {}
        }
        self
    }

    /// Puts what was being done in front of the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        match &mut self {
            Self::InvalidConfig(diagnostics) => {
                for diagnostic in diagnostics {
                    diagnostic.message = format!("{context}: {}", diagnostic.message);
                }
            }
            Self::Denied(fault) | Self::NotFound(fault) | Self::Unavailable(fault) | Self::Other(fault) => {
                fault.message = format!("{context}: {}", fault.message);
            }
            Self::Unsupported(_) => {}
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidConfig(diagnostics) => {
                f.write_str("the configuration is wrong")?;
                diagnostics.iter().enumerate().try_for_each(|(index, diagnostic)| {
                    write!(f, "{} {diagnostic}", if index == 0 { ":" } else { ";" })
                })
            }
            Self::Denied(fault) | Self::NotFound(fault) | Self::Unavailable(fault) | Self::Other(fault) => {
                fault.fmt(f)
            }
            Self::Unsupported(operation) => write!(f, "{operation} is not supported"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let fault = Fault::new(error.to_string());
        match error.kind() {
            Kind::NotFound => Self::NotFound(fault),
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Denied(fault),
            Kind::TimedOut
            | Kind::WouldBlock
            | Kind::Interrupted
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::BrokenPipe
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::ResourceBusy
            | Kind::StaleNetworkFileHandle => Self::Unavailable(fault),
            _ => Self::Other(fault),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(Fault::new(error.to_string()))
    }
}

/// Explains an error on its way up.
///
/// ```
/// use dcd_plugin_sdk::{Error, Help};
///
/// fn read() -> Result<String, Error> {
///     std::fs::read_to_string("/no/such/file")
///         .context("cannot read the release notes")
///         .help("write them before the release")
/// }
/// let Err(Error::NotFound(fault)) = read() else { unreachable!() };
/// assert!(fault.message.starts_with("cannot read the release notes: "));
/// assert_eq!(fault.help.as_deref(), Some("write them before the release"));
/// ```
pub trait Help<T> {
    /// Adds what the user should try.
    fn help(self, help: impl Into<String>) -> Result<T, Error>;

    /// Puts what was being done in front of the message: `context: message`.
    fn context(self, context: impl fmt::Display) -> Result<T, Error>;
}

impl<T, E: Into<Error>> Help<T> for Result<T, E> {
    fn help(self, help: impl Into<String>) -> Result<T, Error> {
        self.map_err(|error| error.into().help(help))
    }

    fn context(self, context: impl fmt::Display) -> Result<T, Error> {
        self.map_err(|error| error.into().context(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_keep_their_meaning() {
        let kind = |kind: io::ErrorKind| Error::from(io::Error::new(kind, "why"));
        assert_eq!(kind(io::ErrorKind::NotFound), Error::not_found("why"));
        assert_eq!(kind(io::ErrorKind::PermissionDenied), Error::denied("why"));
        assert_eq!(kind(io::ErrorKind::TimedOut), Error::unavailable("why"));
        assert_eq!(kind(io::ErrorKind::ConnectionRefused), Error::unavailable("why"));
        assert_eq!(kind(io::ErrorKind::InvalidData), Error::other("why"));
    }

    #[test]
    fn messages_are_for_people() {
        let error = Error::InvalidConfig(vec![
            Diagnostic::new("/url", "is not a URL"),
            Diagnostic::new("", "needs a body"),
        ]);
        assert_eq!(error.to_string(), "the configuration is wrong: /url: is not a URL; needs a body");
        assert_eq!(Error::Unsupported("locks".into()).to_string(), "locks is not supported");
    }

    #[test]
    fn help_and_context_reach_the_fault() {
        let result: Result<(), _> = Err(Error::denied("no")).context("reading x").help("ask");
        assert_eq!(result, Err(Error::Denied(Fault::new("reading x: no").help("ask"))));
    }
}
