//! `wasi:http/outgoing-handler`: requests to what is granted.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use tokio::{sync::OwnedSemaphorePermit, time::Sleep};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    event::StepLog,
    pipeline::size,
    plugin::{
        Answers,
        client::{Client, Prohibited},
        warden::Warden,
    },
};

const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Sent), Error>;

/// The requests of one instance.
pub(crate) struct Outgoing {
    warden: Warden,
    client: Client,
}

impl Outgoing {
    pub(crate) fn new(warden: Warden, client: Client) -> Self {
        Outgoing { warden, client }
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (warden, client) = (self.warden.clone(), self.client.clone());
        Box::new(send(warden, client, request, options))
    }
}

async fn send(
    warden: Warden,
    client: Client,
    mut request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Answer {
    if let Err(refusal) = warden.grants.http(request.uri()) {
        warden.refuse(refusal).await;
        return Err(Error::HttpRequestDenied);
    }
    let permit = match warden.connection() {
        Ok(permit) => permit,
        Err(reason) => {
            warden.refuse(reason).await;
            return Err(Error::ConnectionLimitReached);
        }
    };
    warden.used(|used| &mut used.http, &origin(request.uri()));
    let limits = options.unwrap_or_default();
    let body_limit = warden.grants.limits().http_body;
    *request.version_mut() = http::Version::HTTP_11;
    let request = request.map(|body| Limited::new(body, usize::try_from(body_limit).unwrap_or(usize::MAX)));
    if let Some(answers) = client.answers() {
        return rehearse(answers, request).await;
    }
    let first_byte = limits.first_byte_timeout.unwrap_or(FIRST_BYTE_TIMEOUT);
    let sending = client.send(request, limits.connect_timeout);
    let response = match tokio::time::timeout(first_byte, sending).await {
        Err(_) => return Err(Error::HttpResponseTimeout),
        Ok(Err(error)) => return Err(explain(&error, &warden).await),
        Ok(Ok(response)) => response,
    };
    let between = limits.between_bytes_timeout.unwrap_or(BETWEEN_BYTES_TIMEOUT);
    let response = response.map(|body| {
        Arriving { body, left: body_limit, between, patience: None, warden, _permit: permit }.boxed_unsync()
    });
    Ok((response, Box::new(async { Ok(()) }) as Sent))
}

/// An answer from what stands in for the network.
async fn rehearse(answers: &dyn Answers, request: http::Request<Limited<WasiBody>>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Error::HttpRequestBodySize(None))?;
    let request = http::Request::from_parts(head, body.to_bytes());
    let response = answers.answer(request).ok_or(Error::ConnectionRefused)?;
    let response = response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
    Ok((response, Box::new(async { Ok(()) }) as Sent))
}

/// As grants name it.
fn origin(uri: &http::Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}

/// What a body of more than its limit is told with.
fn too_long(what: &str, warden: &Warden) -> String {
    let limit = warden.grants.limits().http_body;
    let raise = warden.grants.raise("http_body", &format!("\"{}\"", size::format(limit * 2)));
    format!("plugin {}: {what} has more than its limit of {}; {raise}", warden.name, size::format(limit))
}

/// The body of an answer, as long and as slow as it may be. The connection counts until it is over.
struct Arriving {
    body: Incoming,
    left: u64,
    between: Duration,
    /// Runs while the guest waits.
    patience: Option<Pin<Box<Sleep>>>,
    warden: Warden,
    _permit: OwnedSemaphorePermit,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let between = self.between;
            let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
            return match patience.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
                Poll::Pending => Poll::Pending,
            };
        };
        self.patience = None;
        let Some(frame) = frame else { return Poll::Ready(None) };
        let length = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        if length > self.left {
            self.warden.note_refusal(too_long("an answer's body", &self.warden));
            let limit = self.warden.grants.limits().http_body;
            return Poll::Ready(Some(Err(Error::HttpResponseBodySize(Some(limit)))));
        }
        self.left -= length;
        Poll::Ready(Some(frame.map_err(Error::Hyper)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error as the guest may understand it; what it cannot be told goes to the log.
async fn explain(error: &legacy::Error, warden: &Warden) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            found = Some(error.kind());
            // Our own refusal travels inside an `io::Error`, which does not name it as its source.
            if let Some(prohibited) = error.get_ref().and_then(|inner| inner.downcast_ref::<Prohibited>()) {
                warden.refuse(prohibited.0.clone()).await;
                return Error::DestinationIpProhibited;
            }
        }
        if error.is::<LengthLimitError>() {
            warden.refuse(too_long("a request's body", warden)).await;
            return Error::HttpRequestBodySize(Some(warden.grants.limits().http_body));
        }
        // The server hung up instead of answering.
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Error::ConnectionTerminated;
        }
        cause = error.source();
    }
    let message = format!("request of plugin {}: {}", warden.name, crate::text::chain(error));
    let log = StepLog { level: "debug".into(), message: message.clone(), fields: Vec::new() };
    warden.io.log(log).await;
    match found {
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
