//! The line between the backend and a server: it carries requests, and breaks where a test wants it to.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::http::{Error, Request, Response};
use dcd_plugin_sdk::{mock, serde_json};
use serde_json::Value;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It does not arrive.
    Lost,
    /// It does not arrive now, but when [`Line::deliver`] says so.
    Late,
}

/// A request that was sent: the operation, and what the service bills for it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) operation: String,
    pub(crate) units: f64,
}

#[derive(Default)]
struct State {
    fates: Vec<(&'static str, Fate)>,
    sent: Vec<Sent>,
    late: Vec<(String, Vec<u8>)>,
    /// Seconds that the server's clock is ahead, and whether it refuses signatures of another time.
    ahead: u64,
    is_strict: bool,
}

#[derive(Clone)]
pub(crate) struct Line {
    state: Rc<RefCell<State>>,
    url: String,
}

impl Line {
    /// Carries this thread's requests from now on.
    pub(crate) fn install(url: &str) -> Self {
        let line = Self { state: Rc::default(), url: url.to_owned() };
        let carrier = line.clone();
        mock::on_http(move |request| carrier.carry(request));
        line
    }

    /// What becomes of the next requests of this operation, one after the other; the rest is answered.
    pub(crate) fn next(&self, operation: &'static str, fates: &[Fate]) {
        self.state.borrow_mut().fates.extend(fates.iter().map(|fate| (operation, *fate)));
    }

    /// Whether all that `next` announced has come.
    pub(crate) fn assert_used(&self) {
        assert_eq!(self.state.borrow().fates, []);
    }

    /// What was sent since this was asked last.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.state.borrow_mut().sent)
    }

    /// Requests that were late arrive now.
    pub(crate) fn deliver(&self) {
        let late = std::mem::take(&mut self.state.borrow_mut().late);
        for (target, body) in late {
            _ = exchange(&self.url, &target, &body);
        }
    }

    /// How many items there are of a partition.
    pub(crate) fn count(&self, table: &str, pk: &str) -> u64 {
        let query = serde_json::json!({
            "TableName": table, "Select": "COUNT", "ConsistentRead": true, "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": pk } },
        });
        let (_, answer) = exchange(&self.url, "DynamoDB_20120810.Query", query.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["Count"].as_u64().unwrap()
    }

    /// The server's clock is ahead by so many seconds.
    pub(crate) fn set_ahead(&self, seconds: u64, is_strict: bool) {
        let mut state = self.state.borrow_mut();
        (state.ahead, state.is_strict) = (seconds, is_strict);
    }

    /// The server's time now.
    fn date(&self) -> String {
        let ahead = self.state.borrow().ahead;
        httpdate::fmt_http_date(SystemTime::now() + std::time::Duration::from_secs(ahead))
    }

    fn carry(&self, request: &Request) -> Result<Response, Error> {
        if request.method() == "GET" {
            return Ok(Response::new(200).header("date", self.date()));
        }
        let target = request.header_value("x-amz-target").unwrap_or_default().to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let fate = {
            let mut state = self.state.borrow_mut();
            let at = state.fates.iter().position(|(wanted, _)| *wanted == operation);
            at.map_or(Fate::Answered, |at| state.fates.remove(at).1)
        };
        // The servers here do not look at signatures, so what a request costs can be asked with it.
        let mut body: Value = serde_json::from_slice(request.body_bytes()).unwrap();
        body["ReturnConsumedCapacity"] = "TOTAL".into();
        let body = body.to_string().into_bytes();
        match fate {
            Fate::Lost => return Err(Error::Timeout("lost".into())),
            Fate::Late => {
                self.state.borrow_mut().late.push((target, body));
                return Err(Error::Timeout("late".into()));
            }
            Fate::Answered | Fate::AnswerLost => {}
        }
        let (date, is_strict) = (self.date(), self.state.borrow().is_strict);
        if is_strict && !is_signed_within(request, &date) {
            let refusal = r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature not yet current"}"#;
            return Ok(Response::new(400).header("date", date).body(refusal));
        }
        let (status, answer) = exchange(&self.url, &target, &body);
        let units = units(&answer);
        self.state.borrow_mut().sent.push(Sent { operation, units });
        match fate {
            Fate::AnswerLost => Err(Error::Timeout("answer lost".into())),
            _ => Ok(Response::new(status).header("date", date).body(answer)),
        }
    }
}

/// Whether the signature is of the server's minute or of one of its neighbours, as AWS wants it, only stricter.
fn is_signed_within(request: &Request, date: &str) -> bool {
    let signed = request.header_value("x-amz-date").unwrap_or_default();
    let minute = |text: &str, hour: usize| -> i64 { text[hour..hour + 2].parse().unwrap_or(-99) };
    let (signed, server) =
        (minute(signed, 9) * 60 + minute(signed, 11), minute(date, 17) * 60 + minute(date, 20));
    (signed - server).rem_euclid(1440) <= 1 || (server - signed).rem_euclid(1440) <= 1
}

fn units(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let capacity = &answer["ConsumedCapacity"];
    capacity["CapacityUnits"].as_f64().or_else(|| capacity[0]["CapacityUnits"].as_f64()).unwrap_or(0.0)
}

/// One exchange over a connection of its own.
fn exchange(url: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let authority = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    // moto looks at the region.
    let authorization = "AWS4-HMAC-SHA256 Credential=id/20261126/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-date: 20261126T000000Z\r\nx-amz-target: {target}\r\nauthorization: {authorization}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// A number that differs each time.
pub(crate) fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}
