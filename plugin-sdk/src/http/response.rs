//! An answer.

use serde::de::DeserializeOwned;

use super::Error;
use crate::types::{self, Fault};

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// An empty answer; tests make answers with it.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers, in order. Bytes that are not UTF-8 are replaced.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The value of the first header of this name, in any case.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long the server asked to wait, when it gave `retry-after` in seconds; at most an hour.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        let seconds: u64 = self.header_value("retry-after")?.trim().parse().ok()?;
        Some(std::time::Duration::from_secs(seconds.min(3600)))
    }

    /// The body's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body's bytes, taken out of the answer.
    pub fn into_bytes(self) -> Vec<u8> {
        self.body
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::Protocol(format!("the answer's body is not UTF-8: {error}")))
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::Protocol(format!("the answer's body is not the JSON that was expected: {error}"))
        })
    }

    /// Makes any status but 2xx an error of the kind that it means: 401 and 403 denied, 404 and 410 not
    /// found, 408, 429 and 5xx unavailable (with the wait that the server asked for), others
    /// [`types::Error::Other`].
    pub fn error_for_status(self) -> Result<Self, types::Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let mut fault =
            Fault::new(format!("the server answered {} {}", self.status, reason(self.status)).trim_end())
                .code(format!("http/{}", self.status));
        fault.retry_after_ms = self.retry_after().and_then(|wait| wait.as_millis().try_into().ok());
        Err(match self.status {
            401 | 403 => types::Error::Denied(fault),
            404 | 410 => types::Error::NotFound(fault),
            408 | 429 | 500.. => types::Error::Unavailable(fault),
            _ => types::Error::Other(fault),
        })
    }
}

/// The usual words for a status code (RFC 9110); empty for one that has none.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_the_error_that_it_means() {
        let error = |status| Response::new(status).error_for_status();
        assert!(error(204).is_ok());
        assert!(matches!(error(403), Err(types::Error::Denied(_))));
        assert!(matches!(error(404), Err(types::Error::NotFound(_))));
        assert!(matches!(error(409), Err(types::Error::Other(_))));
        let Err(types::Error::Unavailable(fault)) =
            Response::new(503).header("Retry-After", "2").error_for_status()
        else {
            unreachable!()
        };
        assert_eq!(fault.message, "the server answered 503 Service Unavailable");
        assert_eq!(fault.retry_after_ms, Some(2000));
    }
}
