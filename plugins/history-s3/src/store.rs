//! Objects of the bucket: reading, listing, and writing on conditions.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use dcd_plugin_sdk::http::{Client, Request, Response};
use dcd_plugin_sdk::{Error, Help as _};
use quick_xml::de::from_str;
use serde::Deserialize;
use shared::aws::{self, Credentials, Service};
use shared::clock::{Clock, local};

use crate::answer::{self, Doing, Refusal};
use crate::backoff::Backoff;
use crate::config::Place;
use crate::layout;

/// How often a request is sent while the server is busy or does not answer; the runner then tries the whole call again.
const ATTEMPTS: u32 = 3;
/// How often a write is tried again that the server was still busy with for another.
const CONFLICTS: u32 = 8;
/// The most that an object may have.
const LARGEST: usize = 64 << 20;
/// The most that one list names.
const LIST: usize = 1000;
/// An `ETag` that no object has.
const WRONG: &str = "\"00000000000000000000000000000000\"";

/// A bucket that can be asked.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    credentials: Credentials,
    client: Client,
    clock: RefCell<Clock>,
    /// Whether this instance has seen the store refuse a conditional write.
    proven: Cell<bool>,
    /// How long this instance has waited for others that write the same object.
    pub(crate) paused: Cell<Duration>,
}

/// What an object holds, and the tag of this version of it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: String,
}

/// An object in a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    pub(crate) key: String,
    #[serde(default, rename = "ETag")]
    pub(crate) etag: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Listed>,
}

/// What came of a write on a condition.
enum Written {
    /// It is done; the object's new tag.
    Done(String),
    /// The condition did not hold.
    Refused,
    /// Another write of the object is under way.
    Busy,
}

/// On which condition an object is written.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    Absent,
    Same(&'a str),
}

impl Store {
    pub(crate) fn new(place: Place, credentials: Credentials) -> Self {
        Self {
            place,
            credentials,
            client: Client::new().attempts(ATTEMPTS).body_limit(LARGEST),
            clock: RefCell::default(),
            proven: Cell::new(false),
            paused: Cell::default(),
        }
    }

    /// What the store's clock shows, in milliseconds. At least one answer must have come before.
    pub(crate) fn now(&self) -> u64 {
        self.clock.borrow().at(local())
    }

    /// Reads an object; none when there is none of this key.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Object>, Error> {
        let response = self.send(&self.request("GET", key, ""))?;
        self.object(key, response)
    }

    /// Reads objects, several at a time.
    pub(crate) fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Object>>, Error> {
        let requests: Vec<_> = keys.iter().map(|key| self.request("GET", key, "")).collect();
        let answers = self.send_all(&requests)?;
        keys.iter().zip(answers).map(|(key, answer)| self.object(key, answer?)).collect()
    }

    /// Reads an object and, at the same time, makes sure that the store honours conditional writes.
    pub(crate) fn get_proven(&self, key: &str) -> Result<Option<Object>, Error> {
        if self.proven.get() {
            return self.get(key);
        }
        let [made, replaced] = self.proofs();
        let mut answers = self.send_all(&[self.request("GET", key, ""), made, replaced])?.into_iter();
        let object = answers.next();
        self.understand_proofs(answers)?;
        object.map_or(Ok(None), |object| self.object(key, object?))
    }

    fn object(&self, key: &str, response: Response) -> Result<Option<Object>, Error> {
        match response.status() {
            200 => {
                let etag = etag(&response);
                Ok(Some(Object { bytes: response.into_bytes(), etag }))
            }
            404 if Refusal::of(&response).code != "NoSuchBucket" => Ok(None),
            _ => Err(answer::error(&self.place, Doing::Read, key, &response)),
        }
    }

    /// Writes an object where there is none: its tag, or none when there is one.
    pub(crate) fn create(&self, key: &str, body: &[u8]) -> Result<Option<String>, Error> {
        self.prove()?;
        self.write(key, body, Condition::Absent)
    }

    /// Writes objects where there are none, several at a time: their tags, or none for those that there are.
    pub(crate) fn create_all(&self, objects: &[(String, Vec<u8>)]) -> Result<Vec<Option<String>>, Error> {
        self.prove()?;
        let put = |(key, body): &(String, Vec<u8>)| self.put(key, body, Condition::Absent);
        let answers = self.send_all(&objects.iter().map(put).collect::<Vec<_>>())?;
        objects
            .iter()
            .zip(answers)
            .map(|((key, body), answer)| match self.written(key, &answer?)? {
                Written::Done(etag) => Ok(Some(etag)),
                Written::Refused => Ok(None),
                Written::Busy => self.write(key, body, Condition::Absent),
            })
            .collect()
    }

    /// Writes an object in place of the version with this tag: the new one, or none when there is another version.
    pub(crate) fn replace(&self, key: &str, body: &[u8], etag: &str) -> Result<Option<String>, Error> {
        self.prove()?;
        self.write(key, body, Condition::Same(etag))
    }

    fn write(&self, key: &str, body: &[u8], condition: Condition<'_>) -> Result<Option<String>, Error> {
        let request = self.put(key, body, condition);
        let mut backoff = Backoff::new(self);
        for _ in 0..CONFLICTS {
            match self.written(key, &self.send(&request)?)? {
                Written::Done(etag) => return Ok(Some(etag)),
                Written::Refused => return Ok(None),
                Written::Busy => backoff.wait()?,
            }
        }
        Err(Error::unavailable(format!("{} is busy with other writes of {key}", self.place.origin)))
    }

    fn put(&self, key: &str, body: &[u8], condition: Condition<'_>) -> Request {
        let request = self.request("PUT", key, "").body(body);
        let request = request.header("content-type", content_type(key));
        match condition {
            Condition::Absent => request.header("if-none-match", "*"),
            Condition::Same(etag) => request.header("if-match", etag),
        }
    }

    /// What came of a write.
    fn written(&self, key: &str, response: &Response) -> Result<Written, Error> {
        match (response.status(), Refusal::of(response).code.as_str()) {
            (200 | 201 | 204, _) => Ok(Written::Done(etag(response))),
            // There is nothing that could have the tag.
            (412, _) | (404, "NoSuchKey") => Ok(Written::Refused),
            (409, _) => Ok(Written::Busy),
            _ => Err(answer::error(&self.place, Doing::Write, key, response)),
        }
    }

    /// Deletes an object; that there is none is fine.
    pub(crate) fn delete(&self, key: &str) -> Result<(), Error> {
        let response = self.send(&self.request("DELETE", key, ""))?;
        match response.status() {
            200 | 202 | 204 => Ok(()),
            404 if Refusal::of(&response).code != "NoSuchBucket" => Ok(()),
            _ => Err(answer::error(&self.place, Doing::Delete, key, &response)),
        }
    }

    /// The objects whose keys begin so, and come after `after`, in the order of their keys; at most `limit`.
    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, Error> {
        let place = &self.place.prefix;
        let mut listed: Vec<Listed> = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = LIST.min(limit - listed.len());
            let mut query =
                format!("list-type=2&max-keys={page}&prefix={}", escaped(&format!("{place}{prefix}")));
            if let Some(token) = &token {
                query += &format!("&continuation-token={}", escaped(token));
            } else if let Some(after) = after {
                query += &format!("&start-after={}", escaped(&format!("{place}{after}")));
            }
            let response = self.send(&self.request("GET", "", &query))?;
            if response.status() != 200 {
                return Err(answer::error(&self.place, Doing::List, prefix, &response));
            }
            let result: ListBucketResult = from_str(response.text()?).map_err(|error| {
                Error::other(format!(
                    "{} answered with a list that is not understood: {error}",
                    self.place.origin
                ))
            })?;
            listed.extend(result.contents.into_iter().filter_map(|object| {
                let key = object.key.strip_prefix(place.as_str())?.to_owned();
                Some(Listed { key, ..object })
            }));
            token = result.next_continuation_token.filter(|_| result.is_truncated);
            if token.is_none() || listed.len() >= limit {
                listed.truncate(limit);
                return Ok(listed);
            }
        }
    }

    /// Makes sure that the store honours conditional writes, before this instance makes its first.
    fn prove(&self) -> Result<(), Error> {
        if self.proven.get() {
            return Ok(());
        }
        self.understand_proofs(self.send_all(&self.proofs())?)
    }

    /// Makes an object that should be there already, and replaces a version of it that never was. A store that refuses both
    /// honours conditions here and now; no earlier proof need be believed.
    fn proofs(&self) -> [Request; 2] {
        let body = b"dcd asks with this object whether conditional writes are honoured\n";
        [Condition::Absent, Condition::Same(WRONG)].map(|condition| self.put(layout::PROOF, body, condition))
    }

    fn understand_proofs(
        &self,
        answers: impl IntoIterator<Item = Result<Response, Error>>,
    ) -> Result<(), Error> {
        // The first in this bucket made the object, and tells no more than a store that overwrites.
        if self.is_done(answers)?[0] {
            let again = self.is_done(self.send_all(&self.proofs())?)?;
            if again[0] {
                let why = "an object was made twice with `If-None-Match: *`";
                return Err(answer::not_conditional(&self.place, why));
            }
        }
        self.proven.set(true);
        Ok(())
    }

    /// Which of the proofs were carried out. The second never may.
    fn is_done(
        &self,
        answers: impl IntoIterator<Item = Result<Response, Error>>,
    ) -> Result<[bool; 2], Error> {
        let mut done = [false; 2];
        for (answer, done) in answers.into_iter().zip(&mut done) {
            // One that is refused, as one that has to wait for another, was looked at.
            *done = matches!(self.written(layout::PROOF, &answer?)?, Written::Done(_));
        }
        if done[1] { Err(self.careless()) } else { Ok(done) }
    }

    fn careless(&self) -> Error {
        let why = "an object was replaced with an `If-Match` of another version";
        answer::not_conditional(&self.place, why)
    }

    /// Writes, reads, lists and deletes, and tries both conditions. Leaves nothing behind.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let key = format!("{}{}", layout::CHECK, random()?);
        let checked = self.try_out(&key);
        let deleted = self.delete(&key);
        checked.and(deleted)
    }

    fn try_out(&self, key: &str) -> Result<(), Error> {
        let body = key.as_bytes();
        let created = self.write(key, body, Condition::Absent)?;
        if created.is_none() {
            return Err(Error::other(format!("{} calls a key taken that was never used", self.place.origin)));
        }
        if self.write(key, b"", Condition::Absent)?.is_some() {
            let why = "an object was made twice with `If-None-Match: *`";
            return Err(answer::not_conditional(&self.place, why));
        }
        if self.write(key, b"", Condition::Same(WRONG))?.is_some() {
            return Err(self.careless());
        }
        let read = self.get(key)?.ok_or_else(|| {
            Error::other(format!("{} does not have what was just written", self.place.origin))
        })?;
        if read.bytes != body {
            return Err(Error::other(format!("{} answers with another object's bytes", self.place.origin)));
        }
        if self.write(key, body, Condition::Same(&read.etag))?.is_none() {
            let why = "it refused to replace an object with the `If-Match` that it gave";
            return Err(answer::not_conditional(&self.place, why));
        }
        if self.list(key, None, 1)?.is_empty() {
            return Err(Error::other(format!("{} does not list what was just written", self.place.origin)));
        }
        Ok(())
    }

    fn request(&self, method: &str, key: &str, query: &str) -> Request {
        let Place { origin, base, prefix, .. } = &self.place;
        let url = match (key, query) {
            ("", query) => format!("{origin}{base}?{query}"),
            (key, _) => format!("{origin}{base}{prefix}{key}"),
        };
        Request::new(method, url)
    }

    fn send(&self, request: &Request) -> Result<Response, Error> {
        let sent = local();
        let answer = self.client.send(self.signed(request)?);
        let answer = self.noted(answer, sent)?;
        self.timely(request, answer)
    }

    fn send_all(&self, requests: &[Request]) -> Result<Vec<Result<Response, Error>>, Error> {
        let signed = requests.iter().map(|request| self.signed(request)).collect::<Result<_, _>>()?;
        let sent = local();
        let answers = self.client.send_all(signed);
        let timely =
            |(request, answer)| self.noted(answer, sent).and_then(|answer| self.timely(request, answer));
        Ok(requests.iter().zip(answers).map(timely).collect())
    }

    fn signed(&self, request: &Request) -> Result<Request, Error> {
        aws::signed(request, &self.credentials, (Service::S3, &self.place.region), self.now())
    }

    /// Reads the store's clock off an answer.
    fn noted(
        &self,
        answer: Result<Response, dcd_plugin_sdk::http::Error>,
        sent: u64,
    ) -> Result<Response, Error> {
        let answer = answer.context(format!("the bucket {}", self.place.bucket))?;
        self.clock.borrow_mut().hear_answer(&answer, sent);
        Ok(answer)
    }

    /// Asks again, with the server's time, where this machine's was too far from it.
    fn timely(&self, request: &Request, answer: Response) -> Result<Response, Error> {
        if answer.status() != 403 || Refusal::of(&answer).code != "RequestTimeTooSkewed" {
            return Ok(answer);
        }
        let sent = local();
        let answer = self.client.send(self.signed(request)?);
        self.noted(answer, sent)
    }

    /// One line that says where it is.
    pub(crate) fn shown(&self) -> String {
        format!("the bucket {} at {}", self.place.bucket, self.place.origin)
    }
}

fn etag(response: &Response) -> String {
    response.header_value("etag").unwrap_or_default().to_owned()
}

fn content_type(key: &str) -> &'static str {
    if std::path::Path::new(key).extension().is_some_and(|end| end == "gz") {
        "application/gzip"
    } else {
        "application/json"
    }
}

pub(crate) fn number() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| Error::other(format!("there is no randomness: {error}")))
}

/// 128 random bits, as text.
pub(crate) fn random() -> Result<String, Error> {
    Ok(format!("{:016x}{:016x}", number()?, number()?))
}

/// Text as a value in a query (RFC 3986).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() -> Result<(), Error> {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><KeyCount>2</KeyCount>
            <Contents><Key>p/builds/shop/0000000001</Key><ETag>&quot;abc&quot;</ETag><Size>3</Size></Contents>
            <IsTruncated>true</IsTruncated>
            <Contents><Key>p/x</Key><ETag>"d"</ETag></Contents>
            <NextContinuationToken>a+/=</NextContinuationToken></ListBucketResult>"#;
        let list: ListBucketResult = from_str(xml).map_err(|error| Error::other(error.to_string()))?;
        let keys: Vec<_> =
            list.contents.iter().map(|object| (object.key.as_str(), object.etag.as_str())).collect();
        assert_eq!(keys, [("p/builds/shop/0000000001", "\"abc\""), ("p/x", "\"d\"")]);
        assert_eq!((list.is_truncated, list.next_continuation_token.as_deref()), (true, Some("a+/=")));
        Ok(())
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(escaped("a/b~c+ ="), "a%2Fb~c%2B%20%3D");
    }
}
