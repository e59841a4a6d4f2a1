//! The client: limits, and nothing that is kept between requests.

use std::time::Duration;

use super::{Error, Request, Response};

/// Sends requests within limits of time and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub(super) timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) first_byte_timeout: Duration,
    pub(super) between_bytes_timeout: Duration,
    pub(super) body_limit: usize,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            timeout: None,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            body_limit: 16 << 20,
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

    /// Sends a request and reads the whole answer. Any status is an answer: see
    /// [`Response::error_for_status`].
    // By value: a request is sent once, and its body may be large.
    #[allow(clippy::needless_pass_by_value)]
    pub fn send(&self, request: Request) -> Result<Response, Error> {
        crate::host::send(self, &request)
    }
}
