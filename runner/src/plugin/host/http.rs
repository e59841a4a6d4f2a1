//! `wasi:http/outgoing-handler`: requests to what is granted, over a pooled client.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    event::StepLog,
    plugin::{Grants, guest::Io},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer a plugin may get.
const RESPONSE_LIMIT: usize = 64 << 20;

type Pooled = Client<HttpsConnector<HttpConnector<Resolver>>, WasiBody>;
type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The requests of one plugin.
pub(crate) struct Outgoing {
    grants: Arc<Grants>,
    io: Io,
    /// Made with the first request.
    client: Option<Pooled>,
    name: Arc<str>,
}

impl Outgoing {
    pub(crate) fn new(name: Arc<str>, grants: Arc<Grants>, io: Io) -> Self {
        Outgoing { grants, io, client: None, name }
    }

    fn client(&mut self) -> Pooled {
        let make = || {
            let mut connector = HttpConnector::new_with_resolver(Resolver(self.grants.clone()));
            connector.enforce_http(false);
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            // Without this, a request on a kept connection waits for the server's delayed acknowledgement.
            connector.set_nodelay(true);
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(TLS.clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector);
            Client::builder(TokioExecutor::new()).build(https)
        };
        self.client.get_or_insert_with(make).clone()
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

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sent), Error>> + Send> {
        let io = self.io.clone();
        if let Err(refusal) = self.grants.http(request.uri()) {
            return Box::new(async move {
                io.log(StepLog { level: "error".into(), message: refusal, fields: Vec::new() }).await;
                Err(Error::HttpRequestDenied)
            });
        }
        let client = self.client();
        let name = self.name.clone();
        let timeout = options.and_then(|options| options.first_byte_timeout).unwrap_or(FIRST_BYTE_TIMEOUT);
        *request.version_mut() = http::Version::HTTP_11;
        Box::new(async move {
            let response = match tokio::time::timeout(timeout, client.request(request)).await {
                Err(_) => return Err(Error::HttpResponseTimeout),
                Ok(Err(error)) => return Err(explain(&error, &name, &io).await),
                Ok(Ok(response)) => response,
            };
            let response =
                response.map(|body| Limited::new(body, RESPONSE_LIMIT).map_err(body_error).boxed_unsync());
            Ok((response, Box::new(async { Ok(()) }) as Sent))
        })
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<hyper::Error>() {
        Ok(error) => Error::Hyper(*error),
        Err(_) => Error::HttpResponseBodySize(Some(RESPONSE_LIMIT as u64)),
    }
}

/// The error as the guest may understand it; what it cannot be told goes to the log.
async fn explain(error: &hyper_util::client::legacy::Error, plugin: &str, io: &Io) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        if let Some(prohibited) = error.downcast_ref::<Prohibited>() {
            io.log(StepLog { level: "error".into(), message: prohibited.0.clone(), fields: Vec::new() })
                .await;
            return Error::DestinationIpProhibited;
        }
        // The server hung up instead of answering.
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Error::ConnectionTerminated;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            found = Some(error);
            // Our own refusal travels inside an `io::Error`, which does not name it as its source.
            if let Some(prohibited) = error.get_ref().and_then(|inner| inner.downcast_ref::<Prohibited>()) {
                io.log(StepLog { level: "error".into(), message: prohibited.0.clone(), fields: Vec::new() })
                    .await;
                return Error::DestinationIpProhibited;
            }
        }
        cause = error.source();
    }
    let message = format!("request of plugin {plugin}: {}", crate::text::chain(error));
    io.log(StepLog { level: "debug".into(), message: message.clone(), fields: Vec::new() }).await;
    match found.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => Error::ConnectionRefused,
        Some(io::ErrorKind::TimedOut) => Error::ConnectionTimeout,
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            Error::ConnectionTerminated
        }
        Some(io::ErrorKind::InvalidData) => Error::TlsCertificateError,
        _ if message.contains("dns error") => Error::DnsError { rcode: None, info_code: None },
        _ => Error::InternalError(Some(message)),
    }
}

/// A granted name led to an address that it must not lead to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Prohibited(String);

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
