//! An engine for tests: a socket that gives prepared answers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::endpoint::Endpoint;

/// The engine; it ends with the runtime.
pub(super) struct FakeEngine {
    dir: TempDir,
}

impl FakeEngine {
    /// `version` is what the ping says; `answers` are bodies by path, without the version.
    pub(super) fn start(version: &'static str, answers: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let answers: BTreeMap<String, String> =
            answers.iter().map(|(path, body)| ((*path).to_owned(), (*body).to_owned())).collect();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, version, answers.clone()));
            }
        });
        Self { dir }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.path())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

async fn serve(stream: UnixStream, version: &str, answers: BTreeMap<String, String>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while stream.read_line(&mut header).await.unwrap_or(0) > 2 {
            header.clear();
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, body) = if path == "/_ping" {
            ("200 OK", "OK")
        } else if let Some(path) = path.strip_prefix(&format!("/v{version}")) {
            match answers.get(path.split('?').next().unwrap()) {
                Some(body) if method == "GET" => ("200 OK", body.as_str()),
                _ => ("404 Not Found", r#"{"message":"no such thing"}"#),
            }
        } else {
            ("400 Bad Request", r#"{"message":"client version is not supported"}"#)
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: {version}\r\nServer: Fake/1.2.3 (linux)\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { "" } else { body };
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}
