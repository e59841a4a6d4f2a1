//! The client: limits, and nothing that is kept between requests.

use std::time::Duration;

use super::{Error, Request, Response};
use crate::StepContext;

/// Sends requests within limits of time and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub(super) timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) first_byte_timeout: Duration,
    pub(super) between_bytes_timeout: Duration,
    pub(super) body_limit: usize,
    pub(super) cancelled: Option<Question>,
}

/// Whether the step was cancelled. A function, so that only plugins that ask import what answers: history backends
/// cannot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question(fn() -> bool);

impl PartialEq for Question {
    /// There is one such question.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Question {}

impl Default for Client {
    fn default() -> Self {
        Self {
            timeout: None,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            body_limit: 16 << 20,
            cancelled: None,
        }
    }
}

impl Client {
    /// A client with the usual limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the whole exchange, from the connection to the body's last byte. Default: no limit.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Limits making the connection. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limits the wait for the first byte of the answer. Default: 30 s.
    #[must_use]
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.first_byte_timeout = limit;
        self
    }

    /// Limits each pause within the answer's body. Default: 30 s.
    #[must_use]
    pub fn between_bytes_timeout(mut self, limit: Duration) -> Self {
        self.between_bytes_timeout = limit;
        self
    }

    /// Limits the answer's body; a longer one is an error. Default: 16 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Gives up with [`Error::Cancelled`] soon after the step is cancelled. Only for step types.
    #[must_use]
    pub fn cancellable(mut self, _: &StepContext) -> Self {
        self.cancelled = Some(Question(crate::host::cancelled));
        self
    }

    /// Whether a request is to be given up.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|question| (question.0)())
    }

    /// Sends a request and reads the whole answer. Any status is an answer: see
    /// [`Response::error_for_status`].
    // By value: a request is sent once, and its body may be large.
    #[allow(clippy::needless_pass_by_value)]
    pub fn send(&self, request: Request) -> Result<Response, Error> {
        crate::host::send(self, &request)
    }
}
