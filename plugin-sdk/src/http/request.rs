//! A request.

use serde::Serialize;

use super::{Client, Error, Response};

/// A request, to be sent by [`Request::send`] or [`Client::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request of any method. A wrong method or URL is reported when it is sent.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A PUT request.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// A DELETE request.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Adds a header. `content-length` and `host` are set by the client.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, and the content type unless there is one.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        self.body = serde_json::to_vec(value)
            .map_err(|error| Error::InvalidRequest(format!("the body cannot be written as JSON: {error}")))?;
        if self.header_value("content-type").is_none() {
            self = self.header("content-type", "application/json");
        }
        Ok(self)
    }

    /// Sends it with the usual limits: see [`Client`].
    pub fn send(self) -> Result<Response, Error> {
        Client::new().send(self)
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL, as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that were added.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The value of the first header of this name, in any case.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body so far.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_sets_a_content_type_once() -> Result<(), Error> {
        let request = Request::post("https://a.example").json(&[1, 2])?;
        assert_eq!(request.body_bytes(), b"[1,2]");
        assert_eq!(request.header_value("Content-Type"), Some("application/json"));
        let request = Request::post("https://a.example").header("Content-Type", "text/x").json("x")?;
        assert_eq!(request.headers().len(), 1);
        Ok(())
    }
}
