//! A bucket in memory, for tests of what the plugin decides: it counts requests, and can break off at any of them. The real
//! servers are in `runner/tests/backends/s3.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dcd_plugin_sdk::http::{self, Request, Response};
use dcd_plugin_sdk::mock;

use crate::config::{Config, Style};
use crate::{Error, HistoryBackend as _, HistoryS3};

/// Where a breakdown is: before the server did something, or before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breakdown {
    Before,
    After,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, String)>,
    versions: u64,
    log: Vec<String>,
    /// From which request on everything breaks down, and whether that one is carried out; with the second, whether only it.
    breaks: Option<(usize, Breakdown, bool)>,
    /// Whether it ignores `If-None-Match`, and `If-Match`.
    careless: (bool, bool),
    answer: Option<(u16, &'static str)>,
}

/// The bucket, for any number of threads.
#[derive(Clone, Default)]
pub(super) struct Bucket {
    state: Arc<Mutex<State>>,
    /// How far the server's clock is ahead of this machine's.
    pub(super) ahead: Duration,
}

impl Bucket {
    /// A store that ignores `If-None-Match`, or `If-Match`, or both.
    pub(super) fn careless(absent: bool, same: bool) -> Self {
        let bucket = Self::default();
        bucket.with(|state| state.careless = (absent, same));
        bucket
    }

    /// An instance of the plugin, in this thread.
    pub(super) fn open(&self) -> Result<HistoryS3, Error> {
        mock::reset();
        mock::set_secret("AWS_ACCESS_KEY_ID", "AKIA");
        mock::set_secret("AWS_SECRET_ACCESS_KEY", "secret");
        let bucket = self.clone();
        mock::on_http(move |request| bucket.answer(request));
        HistoryS3::open(Config {
            bucket: "builds".into(),
            prefix: "ci".into(),
            endpoint: Some("http://s3.test".into()),
            style: Some(Style::Path),
            ..Config::default()
        })
    }

    /// The requests since this was asked last: method and key.
    pub(super) fn requests(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.log))
    }

    pub(super) fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|state| state.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    pub(super) fn remove(&self, key: &str) {
        self.with(|state| state.objects.remove(key));
    }

    pub(super) fn text(&self, key: &str) -> String {
        let bytes = self.with(|state| state.objects.get(key).map(|(bytes, _)| bytes.clone()));
        String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// Changes an object behind the plugin's back.
    pub(super) fn edit(&self, key: &str, from: &str, to: &str) {
        let text = self.text(key);
        assert!(text.contains(from), "{text}");
        self.with(|state| state.put(key, text.replace(from, to).as_bytes()));
    }

    /// Breaks down at the nth request from now on, and at all after it.
    pub(super) fn break_at(&self, nth: usize, breakdown: Breakdown) {
        self.with(|state| state.breaks = Some((state.log.len() + nth, breakdown, false)));
    }

    /// Loses the answer to the nth request from now on, and to no other.
    pub(super) fn lose_answer(&self, nth: usize) {
        self.with(|state| state.breaks = Some((state.log.len() + nth, Breakdown::After, true)));
    }

    /// Whether it broke down; from now on it does not.
    pub(super) fn mend(&self) -> bool {
        self.with(|state| {
            let broke = state.breaks.is_some_and(|(nth, _, _)| state.log.len() > nth);
            state.breaks = None;
            broke
        })
    }

    /// Answers everything so.
    pub(super) fn always(&self, status: u16, code: &'static str) {
        self.with(|state| state.answer = Some((status, code)));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &Request) -> Result<Response, http::Error> {
        assert!(request.header_value("authorization").is_some(), "{request:?}");
        let date = httpdate::fmt_http_date(SystemTime::now() + self.ahead);
        self.with(|state| {
            let broken = || Err(http::Error::Unreachable("the network is down".into()));
            let nth = state.log.len();
            let breakdown = state.breaks.filter(|(at, _, once)| if *once { nth == *at } else { nth >= *at });
            if let Some((at, how, _)) = breakdown
                && (how == Breakdown::Before || nth > at)
            {
                state.log.push("broken".into());
                return broken();
            }
            let answer = state.carry_out(request).header("date", date);
            if breakdown.is_some() { broken() } else { Ok(answer) }
        })
    }
}

impl State {
    fn put(&mut self, key: &str, bytes: &[u8]) -> String {
        self.versions += 1;
        let etag = format!("\"{}\"", self.versions);
        self.objects.insert(key.to_owned(), (bytes.to_vec(), etag.clone()));
        etag
    }

    fn carry_out(&mut self, request: &Request) -> Response {
        let path = request.url().strip_prefix("http://s3.test/builds/").unwrap_or_default();
        let (key, query) = path.split_once('?').unwrap_or((path, ""));
        let key = key.strip_prefix("ci/").unwrap_or(key);
        let shown = if query.is_empty() { key } else { "?" };
        self.log.push(format!("{} {shown}", request.method()));
        if let Some((status, code)) = self.answer {
            return refusal(status, code);
        }
        match request.method() {
            "GET" if !query.is_empty() => self.list(query),
            "GET" => match self.objects.get(key) {
                Some((bytes, etag)) => Response::new(200).header("etag", etag).body(bytes.clone()),
                None => refusal(404, "NoSuchKey"),
            },
            "PUT" => {
                let etag = self.objects.get(key).map(|(_, etag)| etag.as_str());
                let (absent, same) = self.careless;
                let is_refused =
                    match (request.header_value("if-none-match"), request.header_value("if-match")) {
                        (Some("*"), None) => etag.is_some() && !absent,
                        (None, Some(wanted)) if etag.is_some() => etag != Some(wanted) && !same,
                        (None, Some(_)) => return refusal(404, "NoSuchKey"),
                        other => panic!("a write without a condition: {other:?}"),
                    };
                if is_refused {
                    return refusal(412, "PreconditionFailed");
                }
                let etag = self.put(key, request.body_bytes());
                Response::new(200).header("etag", etag)
            }
            "DELETE" => {
                self.objects.remove(key);
                Response::new(204)
            }
            other => panic!("{other}"),
        }
    }

    fn list(&self, query: &str) -> Response {
        let value = |name: &str| {
            let (_, rest) = query.split_once(&format!("{name}="))?;
            Some(rest.split('&').next()?.replace("%2F", "/").replace("%7E", "~"))
        };
        let prefix = value("prefix").unwrap_or_default();
        let after = value("continuation-token").or_else(|| value("start-after")).unwrap_or_default();
        let most: usize = value("max-keys").and_then(|most| most.parse().ok()).unwrap_or(1000);
        let all = || {
            self.objects
                .iter()
                .map(|(key, (_, etag))| (format!("ci/{key}"), etag))
                .filter(|(key, _)| key.starts_with(&prefix) && *key > after)
        };
        let mut xml = String::from("<ListBucketResult>");
        for (key, etag) in all().take(most) {
            xml +=
                &format!("<Contents><Key>{key}</Key><ETag>{}</ETag></Contents>", etag.replace('"', "&quot;"));
        }
        if all().count() > most {
            let last = all().nth(most - 1).map(|(key, _)| key).unwrap_or_default();
            xml += "<IsTruncated>true</IsTruncated>";
            xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
        }
        Response::new(200).body(xml + "</ListBucketResult>")
    }
}

fn refusal(status: u16, code: &str) -> Response {
    Response::new(status).body(format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}
