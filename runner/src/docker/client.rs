//! The connection to the engine.
//!
//! `bollard` speaks the API, over a transport of our own: its own one opens a connection for each
//! request, and cannot be negotiated down, as it asks `/v1.53/version` first, which an older engine
//! answers with "client version too new". No fixed version serves all engines: 20.10 answers at most
//! 1.41, engine 29 at least 1.44. `/_ping` without a version is answered by all, and says which one.

use std::io;
use std::sync::Arc;

use bollard::models::SystemVersion;
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

    /// The engine itself.
    pub(super) async fn describe(&self) -> Fact<Docker> {
        let (Ok(first), Ok(second)) =
            (client(&self.endpoint, &self.version), client(&self.endpoint, &self.version))
        else {
            return Fact::Absent(format!("The engine at {} could not be asked again.", self.endpoint));
        };
        let (version, info) = tokio::join!(first.version(), second.info());
        // A proxy that guards the socket may refuse both; the ping has told the essential part.
        let SystemVersion { version, os, arch, .. } = version.unwrap_or_default();
        let from_ping = self.server.as_deref().and_then(version_of_server);
        let host_name = match info {
            Ok(info) => info
                .name
                .filter(|name| !name.is_empty())
                .map_or_else(|| Fact::absent("The engine gives no name."), Fact::Known),
            Err(error) => Fact::Absent(self.explain("GET /info", &error)),
        };
        Fact::Known(Docker {
            endpoint: self.endpoint.to_string(),
            version: version.or(from_ping).unwrap_or_else(|| "unknown".to_owned()),
            api_version: self.version.to_string(),
            host_name,
            platform: match (os, arch) {
                (Some(os), Some(arch)) => format!("{os}/{arch}"),
                _ => "unknown".to_owned(),
            },
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
    let transport = move |request| send(endpoint.clone(), Arc::clone(&kept), request);
    bollard::Docker::connect_with_custom_transport(transport, Some("http://docker"), SECONDS, version)
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
    mut request: BollardRequest,
) -> Result<http::Response<Incoming>, bollard::errors::Error> {
    // An address is for a proxy; an engine is given a path.
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = path.into();
    }
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
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
