//! The connection to the engine.
//!
//! `bollard` speaks the API, over a transport of our own, for two reasons. Its own opens a connection
//! for each request. And no fixed version serves all engines (20.10 answers at most 1.41, engine 29 at
//! least 1.44), but bollard 0.21's requests carry none: joining the path to `/v1.53` drops that, so
//! that what it negotiates has no effect, and an engine newer than bollard would answer in a version
//! that bollard does not know. So we ask `/_ping`, which every engine answers without a version and
//! with the newest one that it speaks, and write the version into each request ourselves.

use std::io;
use std::sync::Arc;

use bollard::{BollardRequest, ClientVersion};
use bytes::Bytes;
use http::header::HOST;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use super::endpoint::Endpoint;
use crate::facts::{Docker, Fact};

/// What an engine without the header speaks; such an engine is older than 1.25.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 24 };

/// `bollard` bounds each request, and we bound them all.
const SECONDS: u64 = 10;

/// An engine that answered.
pub(super) struct Engine {
    /// The API.
    pub api: bollard::Docker,
    /// Where.
    pub endpoint: Endpoint,
    version: ClientVersion,
    /// What the answer to the ping said of the software: `Docker/20.10.24 (linux)`.
    server: Option<String>,
}

impl Engine {
    /// Connects, and agrees on the version. The error is a sentence for people.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Self, String> {
        let mut connection =
            Connection::<Full<Bytes>>::open(endpoint).await.map_err(|error| endpoint.explain(&error))?;
        let garbled = |what: &str| {
            format!(
                "What answers at {endpoint} is no Docker engine ({what}): correct DOCKER_HOST or the socket's mount."
            )
        };
        let ping = http::Request::get("/_ping").header(HOST, "docker").body(Full::default());
        let ping = ping.map_err(|error| garbled(&error.to_string()))?;
        let answer = connection.0.send_request(ping).await.map_err(|error| garbled(&error.to_string()))?;
        if !answer.status().is_success() {
            return Err(garbled(&format!("GET /_ping gave {}", answer.status())));
        }
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let spoken = header("api-version").and_then(parse_version).unwrap_or(OLDEST);
        // An engine that is newer than `bollard` still speaks bollard's version.
        let version =
            if spoken > *bollard::API_DEFAULT_VERSION { *bollard::API_DEFAULT_VERSION } else { spoken };
        let server = header("server").map(ToOwned::to_owned);
        let api = client(endpoint, &version).map_err(|error| garbled(&error.to_string()))?;
        Ok(Self { api, endpoint: endpoint.clone(), version, server })
    }

    /// The engine itself. What it said of itself when it was reached is enough: for `/version` and `/info` it
    /// starts programs, and takes 8 ms.
    pub(super) async fn describe(&self) -> Fact<Docker> {
        let version = match self.server.as_deref().and_then(version_of_server) {
            Some(version) => Some(version),
            // Podman does not say it there.
            None => self.api.version().await.ok().and_then(|version| version.version),
        };
        Fact::Known(Docker {
            endpoint: self.endpoint.to_string(),
            version: version.unwrap_or_else(|| "unknown".to_owned()),
            api_version: self.version.to_string(),
        })
    }

    /// A request that failed, as a sentence.
    pub(super) fn explain(&self, request: &str, error: &bollard::errors::Error) -> String {
        use bollard::errors::Error;
        let endpoint = &self.endpoint;
        match error {
            Error::DockerResponseServerError { status_code: 403, message } => format!(
                "The engine at {endpoint} refuses {request} ({}): if a proxy guards the socket, let it pass.",
                message.trim()
            ),
            Error::DockerResponseServerError { status_code, message } => {
                format!(
                    "The engine at {endpoint} answered {request} with {status_code}: {}.",
                    message.trim().trim_end_matches('.')
                )
            }
            other => format!("The engine at {endpoint} did not answer {request}: {other}."),
        }
    }
}

fn parse_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.trim().split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// `20.10.24` of `Docker/20.10.24 (linux)`.
fn version_of_server(server: &str) -> Option<String> {
    let (_, version) = server.split_once('/')?;
    Some(version.split_whitespace().next()?.to_owned())
}

fn client(endpoint: &Endpoint, version: &ClientVersion) -> Result<bollard::Docker, bollard::errors::Error> {
    let endpoint = endpoint.clone();
    let kept = Arc::new(Mutex::new(None));
    let prefix = format!("/v{version}");
    let transport = move |mut request: BollardRequest| {
        let versioned = with_prefix(request.uri(), &prefix);
        let (endpoint, kept) = (endpoint.clone(), Arc::clone(&kept));
        async move {
            *request.uri_mut() = versioned?;
            request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
            send(endpoint, kept, request).await
        }
    };
    bollard::Docker::connect_with_custom_transport(transport, Some("http://docker"), SECONDS, version)
}

/// The path alone, as a whole address is for a proxy, and under the version, should it be missing.
fn with_prefix(uri: &http::Uri, prefix: &str) -> Result<http::Uri, io::Error> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let prefix = if path.starts_with(&format!("{prefix}/")) { "" } else { prefix };
    format!("{prefix}{path}").parse().map_err(io::Error::other)
}

/// The type that `bollard` gives its requests' bodies, which it does not export.
trait HasBody {
    type Body;
}

impl<B> HasBody for http::Request<B> {
    type Body = B;
}

type Body = <BollardRequest as HasBody>::Body;

/// Sends over the connection that is kept, or over a new one when the engine has closed that.
async fn send(
    endpoint: Endpoint,
    kept: Arc<Mutex<Option<Connection<Body>>>>,
    request: BollardRequest,
) -> Result<http::Response<Incoming>, bollard::errors::Error> {
    let mut kept = kept.lock().await;
    if let Some(connection) = kept.as_mut()
        // It is ready when the answer before has been read.
        && connection.0.ready().await.is_ok()
    {
        return Ok(connection.0.send_request(request).await?);
    }
    let connection = kept.insert(Connection::open(&endpoint).await?);
    Ok(connection.0.send_request(request).await?)
}

struct Connection<B>(http1::SendRequest<B>);

impl<B> Connection<B>
where
    B: hyper::body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => Self::over(UnixStream::connect(path).await?).await,
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::over(stream).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends when the sender is dropped. What goes wrong on the way, the request is told.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self(sender))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("1.41").unwrap().to_string(), "1.41");
        assert!(parse_version("1").is_none());
        assert!(parse_version("1.44").unwrap() > parse_version("1.41").unwrap());
        assert_eq!(version_of_server("Docker/20.10.24+dfsg1 (linux)").as_deref(), Some("20.10.24+dfsg1"));
        assert_eq!(version_of_server("Libpod/4.3.1 (linux)").as_deref(), Some("4.3.1"));
    }
}
