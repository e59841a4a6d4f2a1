//! What shows that a build's events are those that happened: each carries the hash of itself and all before it.
//!
//! ```text
//! hash = SHA-256( hash of the event before, or 32 zero bytes
//!                 seq:u64 at:u64 encoding:u8 kind-length:u8 step-length:u16 kind step
//!                 SHA-256( payload ) )
//! ```
//!
//! Integers are little-endian; `encoding` is 0 for JSON text and 1 for bytes; no step has length 0. The payload counts by
//! its own digest, so that output can be dropped and the rest still be checked (`docs/journal.md`).

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{
    event::{Body, Payload, Record},
    text,
};

/// The encodings of a payload, as they are hashed and as a journal has them.
pub(crate) const JSON: u8 = 0;
pub(crate) const BYTES: u8 = 1;

/// The hash of an event and all before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// A hash that somebody else kept; `None` unless it has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// What is hashed of an event besides its payload.
#[derive(Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    /// At most 255 bytes.
    pub(crate) kind: &'a str,
    /// At most 65,535 bytes.
    pub(crate) step: &'a str,
}

impl Envelope<'_> {
    /// The hash after `before`.
    pub(crate) fn hash(&self, before: Hash, payload: &Payload) -> Hash {
        match payload {
            Payload::Json(json) => self.link(before, JSON, Sha256::digest(json).into()),
            Payload::Bytes(bytes) => self.link(before, BYTES, Sha256::digest(bytes).into()),
        }
    }

    fn link(&self, before: Hash, encoding: u8, payload: [u8; 32]) -> Hash {
        let mut head = [0; 20];
        head[..8].copy_from_slice(&self.seq.to_le_bytes());
        head[8..16].copy_from_slice(&self.at.to_le_bytes());
        head[16] = encoding;
        head[17] = u8::try_from(self.kind.len()).unwrap_or(u8::MAX);
        head[18..].copy_from_slice(&u16::try_from(self.step.len()).unwrap_or(u16::MAX).to_le_bytes());
        let mut hasher = Sha256::new_with_prefix(before.0);
        hasher.update(head);
        hasher.update(self.kind);
        hasher.update(self.step);
        hasher.update(payload);
        Hash(hasher.finalize().into())
    }
}

/// What is wrong with a build's records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Another event stands in the place of this one.
    #[error("event {expected} is missing: event {found} stands in its place")]
    Missing {
        /// The number that should come.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// The event, or its place, is not what it was.
    #[error("event {seq} ({kind}{}) is not what was recorded, or what stood before it is not", step.as_ref().map(|step| format!(" of `{step}`")).unwrap_or_default())]
    Changed {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: String,
        /// Its step.
        step: Option<String>,
    },
}

/// Goes along a build's records, from the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verifier {
    next: u64,
    last: Hash,
}

impl Verifier {
    /// Checks the record that comes next.
    pub fn check(&mut self, record: &Record) -> Result<(), Broken> {
        if record.seq != self.next {
            return Err(Broken::Missing { expected: self.next, found: record.seq });
        }
        let envelope = record.envelope();
        let hash = match pruned(record) {
            Some(digest) => envelope.link(self.last, BYTES, digest),
            None => envelope.hash(self.last, &record.payload),
        };
        if hash != record.hash {
            let (kind, step) = (record.kind.clone(), record.step.as_deref().map(str::to_owned));
            return Err(Broken::Changed { seq: record.seq, kind, step });
        }
        self.next += 1;
        self.last = hash;
        Ok(())
    }

    /// How many records were checked.
    pub fn checked(&self) -> u64 {
        self.next
    }

    /// The hash of the last one.
    pub fn last(&self) -> Hash {
        self.last
    }
}

/// The digest of output that was dropped.
fn pruned(record: &Record) -> Option<[u8; 32]> {
    match Body::from_parts(&record.kind, record.payload.clone()) {
        Body::OutputPruned(pruned) => text::from_hex(&pruned.sha256)?.try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of four records, as a writer makes it.
    fn chain() -> Vec<Record> {
        let payloads = [
            ("build.started", None, Payload::Json("{}".into())),
            ("step.output", Some("test"), Payload::Bytes(b"one".as_slice().into())),
            ("step.output", Some("test"), Payload::Bytes(b"two".as_slice().into())),
            ("never.heard.of", None, Payload::Json("[1.0]".into())),
        ];
        let mut last = Hash::default();
        let record = |(seq, (kind, step, payload)): (u64, (&str, Option<&str>, Payload))| {
            let envelope = Envelope { seq, at: 100 + seq, kind, step: step.unwrap_or_default() };
            last = envelope.hash(last, &payload);
            Record { seq, at: 100 + seq, kind: kind.into(), step: step.map(Into::into), payload, hash: last }
        };
        (0..).zip(payloads).map(record).collect()
    }

    fn verify(records: &[Record]) -> Result<u64, String> {
        let mut verifier = Verifier::default();
        for record in records {
            verifier.check(record).map_err(|broken| broken.to_string())?;
        }
        Ok(verifier.checked())
    }

    #[test]
    fn what_was_written_holds() {
        assert_eq!(verify(&chain()), Ok(4));
    }

    #[test]
    fn the_first_record_that_was_changed_dropped_or_moved_is_named() {
        let changed = |change: &dyn Fn(&mut Vec<Record>)| {
            let mut records = chain();
            change(&mut records);
            verify(&records).unwrap_err()
        };
        let third =
            "event 2 (step.output of `test`) is not what was recorded, or what stood before it is not";
        assert_eq!(changed(&|all| all[2].payload = Payload::Bytes(b"TWO".as_slice().into())), third);
        assert_eq!(changed(&|all| all[2].at += 1), third);
        assert_eq!(changed(&|all| all[2].step = Some("lint".into())), third.replace("test", "lint"));
        assert_eq!(changed(&|all| all[2].hash.0[0] ^= 1), third);
        assert_eq!(changed(&|all| drop(all.remove(1))), "event 1 is missing: event 2 stands in its place");
        assert_eq!(changed(&|all| all.swap(1, 2)), "event 1 is missing: event 2 stands in its place");
        let renumbered = |all: &mut Vec<Record>| {
            all.swap(1, 2);
            (all[1].seq, all[2].seq) = (1, 2);
        };
        assert_eq!(changed(&renumbered), third.replace("event 2", "event 1"));
    }

    #[test]
    fn output_that_was_dropped_leaves_the_rest_checkable() {
        let mut records = chain();
        let Payload::Bytes(bytes) = &records[1].payload else { panic!("no output") };
        let (length, digest) = (bytes.len(), text::hex(&Sha256::digest(bytes)));
        let left =
            |digest: &str| Payload::Json(format!(r#"{{"pruned":{{"bytes":{length},"sha256":"{digest}"}}}}"#));
        records[1].payload = left(&digest);
        assert_eq!(verify(&records), Ok(4));
        records[1].payload = left(&digest.replace(['0', '1'], "2"));
        assert!(verify(&records).is_err(), "the digest counts");
    }
}
