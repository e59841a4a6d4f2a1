//! An event as a line of JSON that people can read, and that keeps every byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dcd_plugin_sdk::history::{Event, Payload};
use dcd_plugin_sdk::{Error, serde_json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// JSON text, kept to the byte: embedded when it fits on a line, else as a string, `{"$json": "..."}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(Box<RawValue>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quoted {
    #[serde(rename = "$json")]
    text: String,
}

impl Verbatim {
    /// This text. Not an error for any: what is no JSON is kept as a string, too.
    pub fn new(json: &str) -> Result<Self, Error> {
        match RawValue::from_string(json.to_owned()) {
            Ok(raw) if raw.get() == json && !is_misread(json) => Ok(Self(raw)),
            _ => Ok(Self(serde_json::value::to_raw_value(&Quoted { text: json.to_owned() })?)),
        }
    }

    /// The text as it was given.
    pub fn into_text(self) -> String {
        let text = self.0.get();
        // Only what begins so can be quoted: there are thousands to read.
        let quoted =
            text.starts_with("{\"$json\"").then(|| serde_json::from_str::<Quoted>(text).ok()).flatten();
        quoted.map_or_else(|| Box::<str>::from(self.0).into_string(), |quoted| quoted.text)
    }
}

/// JSON that would not come back if it were embedded: on several lines, null, or what looks like a quoted
/// one.
fn is_misread(json: &str) -> bool {
    json.contains(['\n', '\r']) || json == "null" || serde_json::from_str::<Quoted>(json).is_ok()
}

/// One line of an events file. Exactly one of the last three is there.
#[derive(Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: u64,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Verbatim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// In hex digits.
    hash: String,
}

/// Writes an event as a line.
pub fn write(event: &Event, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut line = Line {
        seq: event.seq,
        at: event.at,
        kind: event.kind.clone(),
        step: event.step.clone(),
        json: None,
        text: None,
        base64: None,
        hash: hex(&event.hash),
    };
    match &event.payload {
        Payload::Json(json) => line.json = Some(Verbatim::new(json)?),
        Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => line.text = Some(text.to_owned()),
            Err(_) => line.base64 = Some(STANDARD.encode(bytes)),
        },
    }
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Reads a line.
pub fn read(line: &str) -> Result<Event, Error> {
    let line: Line = serde_json::from_str(line)?;
    let payload = match (line.json, line.text, line.base64) {
        (Some(json), None, None) => Payload::Json(json.into_text()),
        (None, Some(text), None) => Payload::Bytes(text.into_bytes()),
        (None, None, Some(base64)) => {
            Payload::Bytes(STANDARD.decode(base64).map_err(|error| Error::other(error.to_string()))?)
        }
        _ => return Err(Error::other("the line needs exactly one of `json`, `text` and `base64`")),
    };
    let hash = bytes(&line.hash).ok_or_else(|| Error::other("`hash` is not written in hex digits"))?;
    Ok(Event { seq: line.seq, at: line.at, kind: line.kind, step: line.step, payload, hash })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |index| u8::from_str_radix(hex.get(index..index + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_kept_to_the_byte() -> Result<(), Error> {
        let json = [
            "{\"b\": 1,  \"a\":1e2}",
            "1",
            "null",
            " 1",
            "{\n}",
            "{\"$json\": \"x\"}",
            "no json",
            "\"\\u0000\"",
        ];
        let bytes: [&[u8]; 4] = [b"", b"plain\r\n", b"\xff\x00\x1b", "grüezi \u{2028}".as_bytes()];
        let json = json.iter().map(|text| Payload::Json((*text).to_owned()));
        for payload in json.chain(bytes.iter().map(|bytes| Payload::Bytes(bytes.to_vec()))) {
            let event = Event {
                seq: 3,
                at: 5,
                kind: "new.kind".into(),
                step: Some("s".into()),
                payload,
                hash: vec![0xa0, 7],
            };
            let mut line = Vec::new();
            write(&event, &mut line)?;
            let text = String::from_utf8_lossy(&line);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert_eq!(read(text.trim_end())?, event);
        }
        Ok(())
    }
}
