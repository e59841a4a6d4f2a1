//! One exchange over `wasi:http`.

use std::collections::VecDeque;
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::StreamError;

use super::{Client, Error, Request, Response, Url};

/// How often a wait looks whether the step was cancelled.
const GLANCE: Duration = Duration::from_millis(100);
/// How much of an answer is asked for at once.
const CHUNK: u64 = 64 << 10;

/// Sends a request and reads the whole answer.
pub(crate) fn send(client: &Client, request: &Request) -> Result<Response, Error> {
    UnderWay::begin(client, request)?.end()
}

/// Sends requests and reads their answers. The runner goes on with those that nobody waits for just now.
pub(crate) fn send_all(
    client: &Client,
    requests: &[Request],
    at_once: usize,
) -> Vec<Result<Response, Error>> {
    let end = |begun: Result<UnderWay<'_>, Error>| begun?.end();
    let mut answers = Vec::with_capacity(requests.len());
    let mut under_way = VecDeque::new();
    for request in requests {
        if under_way.len() == at_once {
            answers.extend(under_way.pop_front().map(end));
        }
        under_way.push_back(UnderWay::begin(client, request));
    }
    answers.extend(under_way.into_iter().map(end));
    answers
}

/// A request that was sent, and whose answer is not read.
struct UnderWay<'a> {
    exchange: Exchange<'a>,
    response: FutureIncomingResponse,
}

impl<'a> UnderWay<'a> {
    fn begin(client: &'a Client, request: &Request) -> Result<Self, Error> {
        let url = Url::parse(request.url())?;
        let exchange = Exchange { url, client, deadline: client.timeout.map(deadline) };
        let outgoing = exchange.outgoing(request)?;
        let body = outgoing.body().map_err(|()| exchange.internal("has no body"))?;
        let response = outgoing_handler::handle(outgoing, Some(exchange.options()))
            .map_err(|code| exchange.error(&code))?;
        exchange.write(body, request.body_bytes(), &response)?;
        Ok(Self { exchange, response })
    }

    fn end(self) -> Result<Response, Error> {
        self.exchange.read(&self.exchange.answer(&self.response)?)
    }
}

struct Exchange<'a> {
    url: Url,
    client: &'a Client,
    deadline: Option<Pollable>,
}

impl Exchange<'_> {
    fn outgoing(&self, request: &Request) -> Result<OutgoingRequest, Error> {
        let headers = Fields::new();
        for (name, value) in request.headers() {
            if name.eq_ignore_ascii_case("content-length") {
                continue;
            }
            headers
                .append(name, value.as_bytes())
                .map_err(|_| Error::InvalidRequest(format!("the header {name:?} cannot be sent")))?;
        }
        let body = request.body_bytes();
        // Without it the body would be sent in chunks, also an empty one, which some servers refuse.
        if !body.is_empty() || !matches!(request.method(), "GET" | "HEAD") {
            headers
                .append("content-length", body.len().to_string().as_bytes())
                .map_err(|_| self.internal("refused its length"))?;
        }
        let outgoing = OutgoingRequest::new(headers);
        outgoing
            .set_method(&method(request.method()))
            .map_err(|()| Error::InvalidRequest(format!("{:?} is not an HTTP method", request.method())))?;
        let scheme = if self.url.is_https() { Scheme::Https } else { Scheme::Http };
        outgoing
            .set_scheme(Some(&scheme))
            .and_then(|()| outgoing.set_authority(Some(self.url.authority())))
            .and_then(|()| outgoing.set_path_with_query(Some(&self.url.path_and_query())))
            .map_err(|()| Error::InvalidRequest("the URL is not understood by the runner".into()))?;
        Ok(outgoing)
    }

    fn options(&self) -> RequestOptions {
        let options = RequestOptions::new();
        // A runner that does not know an option has limits of its own.
        _ = options.set_connect_timeout(Some(nanoseconds(self.client.connect_timeout)));
        _ = options.set_first_byte_timeout(Some(nanoseconds(self.client.first_byte_timeout)));
        _ = options.set_between_bytes_timeout(Some(nanoseconds(self.client.between_bytes_timeout)));
        options
    }

    /// Sends the body. That it is not taken is no error: the server may have answered early, and the answer
    /// says why.
    fn write(
        &self,
        body: OutgoingBody,
        bytes: &[u8],
        response: &FutureIncomingResponse,
    ) -> Result<(), Error> {
        if !bytes.is_empty() {
            let stream = body.write().map_err(|()| self.internal("has no stream"))?;
            let mut rest = bytes;
            while !rest.is_empty() {
                let Ok(room) = stream.check_write() else { break };
                if room == 0 {
                    let (writable, answered) = (stream.subscribe(), response.subscribe());
                    self.wait(&[&writable, &answered])?;
                    if answered.ready() {
                        break;
                    }
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                if stream.write(now).is_err() {
                    break;
                }
                rest = later;
            }
            _ = stream.flush();
        }
        _ = OutgoingBody::finish(body, None);
        Ok(())
    }

    fn answer(&self, response: &FutureIncomingResponse) -> Result<IncomingResponse, Error> {
        self.wait(&[&response.subscribe()])?;
        match response.get() {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(code))) => Err(self.error(&code)),
            Some(Err(())) | None => Err(self.internal("has no answer")),
        }
    }

    fn read(&self, answer: &IncomingResponse) -> Result<Response, Error> {
        let mut response = Response::new(answer.status());
        for (name, value) in answer.headers().entries() {
            response = response.header(name, String::from_utf8_lossy(&value));
        }
        let body = answer.consume().map_err(|()| self.internal("has no body to read"))?;
        let stream = body.stream().map_err(|()| self.internal("has no stream to read"))?;
        let mut bytes = Vec::new();
        loop {
            match stream.read(CHUNK) {
                Ok(chunk) if chunk.is_empty() => self.wait(&[&stream.subscribe()])?,
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(StreamError::Closed) => return Ok(response.body(bytes)),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(match http_error_code(&error) {
                        Some(code) => self.error(&code),
                        None => Error::Unreachable(format!("{} broke off its answer", self.url.origin())),
                    });
                }
            }
            if bytes.len() > self.client.body_limit {
                let (origin, limit) = (self.url.origin(), self.client.body_limit);
                return Err(Error::TooLarge(format!("{origin} answered with more than {limit} bytes")));
            }
        }
    }

    /// Waits until one of them is ready, at most until the deadline.
    fn wait(&self, events: &[&Pollable]) -> Result<(), Error> {
        loop {
            let glance = self.client.cancelled.map(|_| deadline(GLANCE));
            let all: Vec<&Pollable> =
                events.iter().copied().chain(self.deadline.as_ref()).chain(glance.as_ref()).collect();
            if poll::poll(&all).iter().any(|&index| (index as usize) < events.len()) {
                return Ok(());
            }
            let origin = self.url.origin();
            if self.deadline.as_ref().is_some_and(Pollable::ready) {
                let limit = self.client.timeout.unwrap_or_default();
                return Err(Error::Timeout(format!("{origin} did not answer within {limit:?}")));
            }
            if self.client.is_cancelled() {
                return Err(Error::Cancelled(format!("the request to {origin} was given up")));
            }
        }
    }

    fn internal(&self, what: &str) -> Error {
        Error::Protocol(format!("the request to {} {what}", self.url.origin()))
    }

    fn error(&self, code: &ErrorCode) -> Error {
        let origin = self.url.origin();
        match code {
            ErrorCode::HttpRequestDenied => Error::denied(&self.url),
            ErrorCode::DestinationIpProhibited => Error::Denied {
                message: format!(
                    "{origin} leads to an address inside, which a grant of its name does not cover"
                ),
                origin,
            },
            ErrorCode::DnsTimeout => Error::Timeout(format!("the name of {origin} was not resolved in time")),
            ErrorCode::ConnectionTimeout => Error::Timeout(format!(
                "there was no connection to {origin} within {:?}",
                self.client.connect_timeout
            )),
            ErrorCode::HttpResponseTimeout => {
                Error::Timeout(format!("{origin} did not answer within {:?}", self.client.first_byte_timeout))
            }
            ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionWriteTimeout => {
                Error::Timeout(format!("{origin} paused for too long"))
            }
            ErrorCode::DnsError(detail) => Error::Unreachable(match &detail.rcode {
                Some(rcode) => format!("the name of {origin} is not known ({rcode})"),
                None => format!("the name of {origin} is not known"),
            }),
            ErrorCode::DestinationNotFound => {
                Error::Unreachable(format!("the name of {origin} is not known"))
            }
            ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
                Error::Unreachable(format!("{origin} cannot be reached"))
            }
            ErrorCode::ConnectionRefused => Error::Unreachable(format!("{origin} refused the connection")),
            ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
                Error::Unreachable(format!("{origin} closed the connection before its answer was complete"))
            }
            ErrorCode::ConnectionLimitReached => {
                Error::Unreachable(format!("there are too many connections to reach {origin}"))
            }
            ErrorCode::TlsCertificateError => {
                Error::Protocol(format!("the certificate of {origin} is not trusted"))
            }
            ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => Error::Protocol(format!(
                "there is no secure connection to {origin}: the TLS handshake failed"
            )),
            ErrorCode::InternalError(Some(why)) => {
                Error::Protocol(format!("the request to {origin} failed: {why}"))
            }
            other => Error::Protocol(format!("the request to {origin} failed: {other:?}")),
        }
    }
}

fn deadline(limit: Duration) -> Pollable {
    monotonic_clock::subscribe_duration(nanoseconds(limit))
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}
