//! Why there is no answer.

use std::fmt;

use super::Url;
use crate::types::{self, Fault};

/// Why a request got no usable answer. Every message names the origin that was asked, never the query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is: its URL, its method or a header.
    InvalidRequest(String),
    /// The runner refused: the origin is not granted.
    Denied {
        /// The scheme, host and port that a grant would name.
        origin: String,
        /// Why, in one sentence.
        message: String,
    },
    /// There was no answer within a time limit.
    Timeout(String),
    /// The name, the network or the server did not answer, or the connection broke. May work later.
    Unreachable(String),
    /// The answer's body is longer than the client's limit.
    TooLarge(String),
    /// The answer is not understood: TLS, the protocol, or the body's form.
    Protocol(String),
    /// The step was cancelled: see [`Client::cancellable`](super::Client::cancellable).
    Cancelled(String),
}

impl Error {
    /// The runner refused to reach this URL's origin.
    pub fn denied(url: &Url) -> Self {
        let origin = url.origin();
        Self::Denied { message: format!("the plugin is not granted to reach {origin}"), origin }
    }

    /// True when the same request may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Unreachable(_))
    }

    /// What happened, in one sentence.
    pub fn message(&self) -> &str {
        let (Self::InvalidRequest(message)
        | Self::Denied { message, .. }
        | Self::Timeout(message)
        | Self::Unreachable(message)
        | Self::TooLarge(message)
        | Self::Protocol(message)
        | Self::Cancelled(message)) = self;
        message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        let fault = Fault::new(error.message());
        match error {
            Error::Denied { origin, .. } => Self::Denied(fault.code("http/denied").help(format!(
                "grant it in the plugin's entry of the pipeline's `plugins` block: \
                 \"allow\": {{\"http\": [\"{origin}\"]}}"
            ))),
            Error::Timeout(_) => Self::Unavailable(fault.code("http/timeout")),
            Error::Unreachable(_) => Self::Unavailable(fault.code("http/unreachable")),
            Error::InvalidRequest(_) => Self::Other(fault.code("http/invalid-request")),
            Error::TooLarge(_) => Self::Other(fault.code("http/too-large")),
            Error::Protocol(_) => Self::Other(fault.code("http/protocol")),
            Error::Cancelled(_) => Self::Other(fault.code("http/cancelled")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_is_unavailable() {
        for (error, transient) in [
            (Error::Timeout("t".into()), true),
            (Error::Unreachable("u".into()), true),
            (Error::Protocol("p".into()), false),
            (Error::TooLarge("l".into()), false),
        ] {
            assert_eq!(error.is_transient(), transient);
            assert_eq!(matches!(types::Error::from(error), types::Error::Unavailable(_)), transient);
        }
    }

    #[test]
    fn a_denial_names_the_origin_and_the_grant() {
        let denied = Url::parse("https://api.example:8443/x?token=y").map(|url| Error::denied(&url).into());
        let Ok(types::Error::Denied(fault)) = denied else { unreachable!() };
        assert_eq!(fault.message, "the plugin is not granted to reach https://api.example:8443");
        assert!(fault.help.is_some_and(|help| help.ends_with("\"http\": [\"https://api.example:8443\"]}")));
    }
}
