//! The table: requests to it, tried again where that helps, and how it is made.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use dcd_plugin_sdk::http::{self, Client};
use dcd_plugin_sdk::{Error, Fault, Help as _, log};
use serde_json::{Value, json};
use shared::aws::{self, Credentials, Service};
use shared::clock::{Clock, local};

use crate::fault::{Refusal, Remedy};
use crate::item::{Item, Key};
use crate::request::Request;
use crate::settings::Settings;

/// How often a request is sent that may work in a moment, and the first pause; each one after is twice as long, or less.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Further off than this, a signature is refused for its time (AWS: 5 minutes).
const SKEW_MS: u64 = 60_000;
/// How many questions are asked for the time only, each of which takes up to a second.
const QUESTIONS: u32 = 4;
/// How long a new table is waited for within one call.
const CREATION: Duration = Duration::from_secs(20);
/// The most keys of one `BatchGetItem`.
const BATCH: usize = 100;

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    settings: Settings,
    http: Client,
    credentials: Credentials,
    clock: Cell<Clock>,
    /// How many questions were asked for the time only.
    questions: Cell<u32>,
}

/// A page of a query.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) items: Vec<Item>,
    /// Whether there may be more.
    pub(crate) more: bool,
}

impl Table {
    pub(crate) fn new(settings: Settings, credentials: Credentials) -> Self {
        let http = Client::new()
            .connect_timeout(Duration::from_secs(5))
            .first_byte_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(20))
            .body_limit(32 << 20);
        Self { settings, http, credentials, clock: Cell::default(), questions: Cell::new(0) }
    }

    /// What the service's clock shows, in milliseconds since the epoch.
    pub(crate) fn now(&self) -> u64 {
        while self.questions.get() < QUESTIONS && self.clock.get().is_vague() {
            self.questions.set(self.questions.get() + 1);
            thread::sleep(Duration::from_millis(self.clock.get().until_tick(local())));
            // Any answer tells the time, and this one (`healthy: ...`) costs nothing.
            _ = self.listen(http::Request::get(format!("{}/", self.settings.endpoint.origin())));
        }
        self.clock.get().at(local())
    }

    /// One item.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        let mut answer = self.call("GetItem", Request::get(key))?;
        Ok(take_object(&mut answer, "Item"))
    }

    /// Items of these keys, in no order; those that there are.
    pub(crate) fn get_all(&self, keys: &[Key]) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        for keys in keys.chunks(BATCH) {
            let mut body = Request::keys(&self.settings.table, keys).into_whole_body();
            let mut pause = FIRST_PAUSE;
            loop {
                let mut answer = self.expect("BatchGetItem", &body)?;
                let answers = answer.get_mut("Responses").and_then(|all| all.get_mut(&self.settings.table));
                items.extend(take_items(answers));
                // What did not fit into the answer, or was too much for now.
                match answer.get_mut("UnprocessedKeys").map(Value::take) {
                    Some(left) if left.as_object().is_some_and(|left| !left.is_empty()) => {
                        body = Request::empty().with("RequestItems", left).into_whole_body();
                    }
                    _ => break,
                }
                if pause > FIRST_PAUSE * 2_u32.pow(TRIES) {
                    return Err(Error::unavailable("the table answers too slowly to be read"));
                }
                thread::sleep(jittered(pause));
                pause *= 2;
            }
        }
        Ok(items)
    }

    /// A page of a query.
    pub(crate) fn query(&self, request: Request) -> Result<Found, Error> {
        let mut answer = self.call("Query", request)?;
        let items = take_items(answer.get_mut("Items"));
        Ok(Found { items, more: answer.get("LastEvaluatedKey").is_some_and(Value::is_object) })
    }

    /// All that a query finds.
    pub(crate) fn query_all(&self, request: &Request) -> Result<Vec<Item>, Error> {
        let (mut items, mut from) = (Vec::new(), None);
        loop {
            let page = match &from {
                None => request.clone(),
                Some(key) => request.clone().with("ExclusiveStartKey", Value::clone(key)),
            };
            let mut answer = self.call("Query", page)?;
            items.extend(take_items(answer.get_mut("Items")));
            match answer.get_mut("LastEvaluatedKey").map(Value::take) {
                Some(key) if key.is_object() => from = Some(key),
                _ => return Ok(items),
            }
        }
    }

    /// Puts an item. False: the condition did not hold. After an answer that was lost it may be this very request that
    /// changed what the condition is about.
    pub(crate) fn put(&self, request: Request) -> Result<bool, Error> {
        Ok(self.write("PutItem", request)?.is_some())
    }

    /// Changes an item, and answers it. None: the condition did not hold; see [`Table::put`].
    pub(crate) fn update(&self, request: Request) -> Result<Option<Item>, Error> {
        Ok(self
            .write("UpdateItem", request)?
            .map(|mut answer| take_object(&mut answer, "Attributes").unwrap_or_default()))
    }

    /// Deletes an item. False: the condition did not hold; see [`Table::put`].
    pub(crate) fn delete(&self, request: Request) -> Result<bool, Error> {
        Ok(self.write("DeleteItem", request)?.is_some())
    }

    fn write(&self, operation: &str, request: Request) -> Result<Option<Value>, Error> {
        match self.exchange(operation, &request.into_body(&self.settings.table))? {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) if refusal.remedy() == Remedy::Outcome => Ok(None),
            Err(refusal) => Err(refusal.error(operation, &self.settings)),
        }
    }

    fn call(&self, operation: &str, request: Request) -> Result<Value, Error> {
        self.expect(operation, &request.into_body(&self.settings.table))
    }

    fn expect(&self, operation: &str, body: &[u8]) -> Result<Value, Error> {
        self.exchange(operation, body)?.map_err(|refusal| refusal.error(operation, &self.settings))
    }

    /// Sends a request, and makes the table if it is missing and may be made.
    fn exchange(&self, operation: &str, body: &[u8]) -> Result<Result<Value, Refusal>, Error> {
        let answer = self.send(operation, body)?;
        match &answer {
            Err(refusal) if refusal.remedy() == Remedy::Create && self.settings.create_table => {
                self.create()?;
                self.send(operation, body)
            }
            _ => Ok(answer),
        }
    }

    /// Sends a request, as often as that may help.
    fn send(&self, operation: &str, body: &[u8]) -> Result<Result<Value, Refusal>, Error> {
        let (mut pause, mut tries) = (FIRST_PAUSE, 1);
        loop {
            let ahead = self.clock.get().ahead();
            let answer = self.send_once(self.signed(operation, body)?);
            let again = tries < TRIES
                && match &answer {
                    Ok(Ok(_)) => false,
                    Ok(Err(refusal)) => match refusal.remedy() {
                        Remedy::Wait => true,
                        // Its answer told the time.
                        Remedy::Sign => self.clock.get().ahead().abs_diff(ahead) > SKEW_MS,
                        Remedy::Create | Remedy::Outcome | Remedy::None => false,
                    },
                    // The time of a call is limited: one that hangs is the runner's to try again.
                    Err(error) => matches!(error, http::Error::Unreachable(_)),
                };
            if !again {
                return answer.context(format!("cannot {operation} in table {}", self.settings.table));
            }
            thread::sleep(jittered(pause));
            pause *= 2;
            tries += 1;
        }
    }

    fn signed(&self, operation: &str, body: &[u8]) -> Result<http::Request, Error> {
        let request = http::Request::post(format!("{}/", self.settings.endpoint.origin()))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(body);
        let service = (Service::DynamoDb, self.settings.region.as_str());
        aws::signed(&request, &self.credentials, service, self.clock.get().at(local()))
    }

    fn send_once(&self, request: http::Request) -> Result<Result<Value, Refusal>, http::Error> {
        let answer = self.listen(request)?;
        if answer.status() == 200 {
            return answer.json().map(Ok);
        }
        Ok(Err(Refusal::new(answer.status(), answer.bytes())))
    }

    /// Sends a request, and looks at the clock of who answers.
    fn listen(&self, request: http::Request) -> Result<http::Response, http::Error> {
        let sent = local();
        let answer = self.http.send(request)?;
        let mut clock = self.clock.get();
        clock.hear_answer(&answer, sent);
        self.clock.set(clock);
        Ok(answer)
    }

    /// Makes the table, or waits for another who does.
    fn create(&self) -> Result<(), Error> {
        let table = &self.settings.table;
        let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let request = Request::empty()
            .with("BillingMode", "PAY_PER_REQUEST")
            .with("AttributeDefinitions", vec![attribute("pk"), attribute("sk")])
            .with("KeySchema", vec![key("pk", "HASH"), key("sk", "RANGE")]);
        match self.send_create(request)? {
            Ok(_) => log::info(&format!("made the table {table} in {}", self.settings.region), &[]),
            // Another was quicker.
            Err(refusal) if refusal.kind == "ResourceInUseException" => {}
            Err(refusal) => return Err(refusal.error("CreateTable", &self.settings)),
        }
        let start = Instant::now();
        while start.elapsed() < CREATION {
            let status = match self.send("DescribeTable", &Request::empty().into_body(table))? {
                Ok(answer) => answer["Table"]["TableStatus"].as_str().unwrap_or_default().to_owned(),
                // Not yet known everywhere.
                Err(refusal) if refusal.remedy() == Remedy::Create => String::new(),
                Err(refusal) => return Err(refusal.error("DescribeTable", &self.settings)),
            };
            if status == "ACTIVE" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(250));
        }
        Err(Error::unavailable(Fault::new(format!("the table {table} is being made")).retry_after_ms(1000)))
    }

    fn send_create(&self, request: Request) -> Result<Result<Value, Refusal>, Error> {
        let answer = self.send_once(self.signed("CreateTable", &request.into_body(&self.settings.table))?);
        answer.context(format!("cannot make the table {}", self.settings.table))
    }
}

/// Half of it or more, up to all of it, so that writers that met do not meet again.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause / 2 + spread(pause / 2)
}

/// Any part of it.
pub(crate) fn spread(pause: Duration) -> Duration {
    let mut random = [0];
    // Without randomness they meet again.
    _ = getrandom::fill(&mut random);
    pause.mul_f32(f32::from(random[0]) / 256.0)
}

/// 128 random bits, as text.
pub(crate) fn random() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::other(format!("there is no randomness: {error}")))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

fn take_object(answer: &mut Value, name: &str) -> Option<Item> {
    match answer.get_mut(name).map(Value::take) {
        Some(Value::Object(item)) => Some(item),
        _ => None,
    }
}

fn take_items(list: Option<&mut Value>) -> Vec<Item> {
    let Some(Value::Array(list)) = list.map(Value::take) else { return Vec::new() };
    list.into_iter()
        .filter_map(|item| match item {
            Value::Object(item) => Some(item),
            _ => None,
        })
        .collect()
}
