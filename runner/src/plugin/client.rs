//! The HTTP client of one plugin: it keeps connections from call to call, looks names up itself, and goes through
//! the proxies that dcd's environment names.

use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::{HeaderValue, Uri, header::PROXY_AUTHORIZATION};
use http_body_util::Limited;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            self,
            connect::{Connected, Connection, HttpConnector, dns::Name, proxy::Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;
use wasmtime_wasi_http::WasiBody;

use crate::plugin::{Answers, Grants};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections to one host wait for the next request: as many as the SDK sends at once.
const IDLE: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type Pooled = legacy::Client<Connector, Limited<WasiBody>>;
type Failure = Box<dyn Error + Send + Sync>;

/// Sends requests. Made with the first one; its clones are one.
#[derive(Clone)]
pub(crate) struct Client {
    grants: Arc<Grants>,
    pooled: Arc<OnceLock<Pooled>>,
    answers: Option<Arc<dyn Answers>>,
}

tokio::task_local! {
    /// How long the request that is being sent may take to connect.
    static CONNECT_LIMIT: Duration;
}

impl Client {
    pub(crate) fn new(grants: Arc<Grants>) -> Self {
        Client { grants, pooled: Arc::default(), answers: None }
    }

    /// One that sends nothing: `answers` stands in for the network.
    pub(crate) fn answered_by(grants: Arc<Grants>, answers: Arc<dyn Answers>) -> Self {
        Client { answers: Some(answers), ..Client::new(grants) }
    }

    /// What stands in for the network.
    pub(crate) fn answers(&self) -> Option<&dyn Answers> {
        self.answers.as_deref()
    }

    /// Sends a request that is granted, until the head of the answer is there.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Limited<WasiBody>>,
        connect_limit: Option<Duration>,
    ) -> Result<http::Response<hyper::body::Incoming>, legacy::Error> {
        if let Some(auth) = proxy_auth(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, auth);
        }
        let pooled = self.pooled.get_or_init(|| {
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE)
                .build(Connector::new(self.grants.clone()))
        });
        let limit = connect_limit.unwrap_or(CONNECT_TIMEOUT);
        CONNECT_LIMIT.scope(limit, pooled.request(request)).await
    }
}

/// The usual roots, and those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some()) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[allow(clippy::expect_used, reason = "ring has the suites of both versions")]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default protocol versions");
    builder.with_root_certificates(roots).with_no_client_auth()
});

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower case.
static PROXIES: LazyLock<Matcher> = LazyLock::new(Matcher::from_env);

/// What a proxy of plain HTTP wants to know with each request; a tunnel is told when it is opened.
fn proxy_auth(uri: &Uri) -> Option<HeaderValue> {
    let plain = uri.scheme_str() == Some("http");
    PROXIES.intercept(uri).filter(|_| plain).and_then(|proxy| proxy.basic_auth().cloned())
}

/// Connects to a server, or to the proxy before it.
#[derive(Clone)]
struct Connector {
    /// To what is granted.
    direct: HttpsConnector<HttpConnector<Resolver>>,
    /// To proxies, which dcd's environment names: no grant is asked.
    to_proxy: HttpsConnector<HttpConnector>,
}

impl Connector {
    fn new(grants: Arc<Grants>) -> Self {
        Connector {
            direct: with_tls(connector(HttpConnector::new_with_resolver(Resolver(grants)))),
            to_proxy: with_tls(connector(HttpConnector::new())),
        }
    }

    fn through(&mut self, proxy: &Intercept, uri: Uri) -> Connecting {
        if !matches!(proxy.uri().scheme_str(), Some("http" | "https")) {
            let error = format!("the proxy {} is no HTTP proxy", proxy.uri());
            return Box::pin(async move { Err(error.into()) });
        }
        if uri.scheme_str() == Some("http") {
            let connecting = self.to_proxy.call(proxy.uri().clone());
            return Box::pin(async { Ok(Link { stream: Box::new(connecting.await?), proxied: true }) });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let connecting = with_tls(tunnel).call(uri);
        Box::pin(async { Ok(Link { stream: Box::new(connecting.await?), proxied: false }) })
    }
}

fn connector<R>(mut connector: HttpConnector<R>) -> HttpConnector<R> {
    connector.enforce_http(false);
    // Without this, a request on a kept connection waits for the server's delayed acknowledgement.
    connector.set_nodelay(true);
    connector
}

fn with_tls<C>(connector: C) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new()
        .with_tls_config(TLS.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector)
}

type Connecting = Pin<Box<dyn Future<Output = Result<Link, Failure>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = Failure;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let limit = CONNECT_LIMIT.try_with(|limit| *limit).unwrap_or(CONNECT_TIMEOUT);
        let connecting = if let Some(proxy) = PROXIES.intercept(&uri) {
            self.through(&proxy, uri)
        } else {
            let connecting = self.direct.call(uri);
            Box::pin(async { Ok(Link { stream: Box::new(connecting.await?), proxied: false }) })
        };
        Box::pin(async move {
            let timeout = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
            tokio::time::timeout(limit, connecting).await.map_err(timeout)?
        })
    }
}

trait Stream: Read + Write + Unpin + Send {}

impl<S: Read + Write + Unpin + Send> Stream for S {}

/// A connection, however it was made.
struct Link {
    stream: Box<dyn Stream>,
    /// A proxy reads the requests.
    proxied: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(context, parts)
    }
}

/// A granted name led to an address that it must not lead to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Prohibited(pub(crate) String);

/// Looks names up, and gives out only addresses that the grants cover. The connection is made to one of
/// those: a second look-up could say something else.
#[derive(Clone)]
struct Resolver(Arc<Grants>);

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let grants = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let reach = grants.http_host(host).ok_or_else(|| io::Error::other("the host is not granted"))?;
            let all = tokio::net::lookup_host((host, 0)).await?;
            let mut refusal = None;
            let check = |address: &SocketAddr| match grants.address(reach, address.ip()) {
                Ok(()) => true,
                Err(reason) => {
                    refusal.get_or_insert(reason);
                    false
                }
            };
            let allowed: Vec<_> = all.filter(check).collect();
            match refusal {
                Some(reason) if allowed.is_empty() => {
                    Err(io::Error::new(io::ErrorKind::PermissionDenied, Prohibited(reason)))
                }
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}
