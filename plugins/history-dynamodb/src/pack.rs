//! Events as bytes: written one after the other, then deflated, since the service bills kilobytes.

use std::io::{Read as _, Write as _};

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Event, Payload};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

/// The first byte of what is deflated.
const FORMAT: u8 = 1;
/// More than a chunk ever has.
const LONGEST: u64 = 128 << 20;

/// An event but for its sequence number, which its place says.
#[derive(Debug, Serialize, Deserialize)]
struct Packed<'a> {
    at: u64,
    kind: &'a str,
    step: Option<&'a str>,
    #[serde(borrow)]
    payload: Content<'a>,
    hash: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
enum Content<'a> {
    Json(&'a str),
    Bytes(&'a [u8]),
}

/// Events that follow each other, as bytes.
pub(crate) fn pack(events: &[Event]) -> Result<Vec<u8>, Error> {
    let packed: Vec<Packed<'_>> = events.iter().map(Packed::from).collect();
    let plain = postcard::to_allocvec(&packed).map_err(|error| wrong(&error))?;
    deflate(&[&[FORMAT], plain.as_slice()])
}

/// The events again, the first of which has this sequence number.
pub(crate) fn unpack(bytes: &[u8], first: u64) -> Result<Vec<Event>, Error> {
    let plain = inflate(bytes)?;
    let Some((&FORMAT, plain)) = plain.split_first() else {
        return Err(Error::other("events are kept in a form that is not known")
            .help("they may be of a newer history-dynamodb: use that"));
    };
    let packed: Vec<Packed<'_>> = postcard::from_bytes(plain).map_err(|error| wrong(&error))?;
    Ok(packed.into_iter().zip(first..).map(|(event, seq)| event.unpack(seq)).collect())
}

/// Text that is too long to be kept as it is.
pub(crate) fn pack_text(text: &str) -> Result<Vec<u8>, Error> {
    deflate(&[text.as_bytes()])
}

pub(crate) fn unpack_text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(inflate(bytes)?).map_err(|error| Error::other(error.to_string()))
}

fn deflate(pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    Ok(encoder.finish()?)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    DeflateDecoder::new(bytes).take(LONGEST).read_to_end(&mut plain)?;
    Ok(plain)
}

fn wrong(error: &postcard::Error) -> Error {
    Error::other(format!("events cannot be packed or unpacked: {error}"))
}

impl<'a> From<&'a Event> for Packed<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            at: event.at,
            kind: &event.kind,
            step: event.step.as_deref(),
            payload: match &event.payload {
                Payload::Json(json) => Content::Json(json),
                Payload::Bytes(bytes) => Content::Bytes(bytes),
            },
            hash: &event.hash,
        }
    }
}

impl Packed<'_> {
    fn unpack(self, seq: u64) -> Event {
        Event {
            seq,
            at: self.at,
            kind: self.kind.to_owned(),
            step: self.step.map(str::to_owned),
            payload: match self.payload {
                Content::Json(json) => Payload::Json(json.to_owned()),
                Content::Bytes(bytes) => Payload::Bytes(bytes.to_owned()),
            },
            hash: self.hash.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let payloads = [
            Payload::Json("{ \"b\" : 1.0,\t\"a\": [ 1e400 ] }\n".into()),
            Payload::Bytes((0..=255).collect()),
            Payload::Bytes(Vec::new()),
            Payload::Json(String::new()),
        ];
        let steps = [None, Some(String::new()), Some("schön / 100 % _".to_owned())];
        let event = |(seq, payload): (u64, Payload)| Event {
            seq,
            at: if seq == 7 { 0 } else { u64::MAX },
            kind: "grüezi".into(),
            step: steps[usize::try_from(seq % 3).unwrap()].clone(),
            payload,
            hash: vec![u8::try_from(seq).unwrap(); 32],
        };
        (7..).zip(payloads).map(event).collect()
    }

    #[test]
    fn events_come_back_to_the_byte() {
        let packed = pack(&events()).unwrap();
        assert_eq!(format!("{:?}", unpack(&packed, 7).unwrap()), format!("{:?}", events()));
        assert_eq!(unpack(&pack(&[]).unwrap(), 0).unwrap().len(), 0);
        assert_eq!(unpack_text(&pack_text("grüezi").unwrap()).unwrap(), "grüezi");
    }

    #[test]
    fn what_is_damaged_is_no_event() {
        let packed = pack(&events()).unwrap();
        assert!(unpack(&packed[..packed.len() / 2], 7).is_err());
        assert!(unpack(b"", 7).is_err());
        let newer = deflate(&[&[FORMAT + 1, 0]]).unwrap();
        assert_eq!(unpack(&newer, 0).unwrap_err().to_string(), "events are kept in a form that is not known");
    }

    #[test]
    fn output_shrinks() {
        let line = |seq: u64| Event {
            seq,
            at: 1_763_000_000_000 + seq,
            kind: "step.output".into(),
            step: Some("test".into()),
            payload: Payload::Bytes(format!("test engine::state::case_{seq} ... ok\n").into_bytes()),
            hash: seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(4),
        };
        let events: Vec<_> = (0..500).map(line).collect();
        let packed = pack(&events).unwrap();
        assert!(packed.len() < 500 * 24, "{} bytes", packed.len());
    }
}
