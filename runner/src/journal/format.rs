//! The bytes of a journal. `docs/journal.md` describes them for other readers; change both together.
//!
//! ```text
//! file    = header record*
//! header  = "dcd-jrnl" version:u32 crc32:u32           crc32 over the 12 bytes before it
//! record  = length:u32 crc32:u32 body                  crc32 over length and body
//! body    = seq:u64 at:u64 encoding:u8 kind:u8 step:u16 hash:[u8; 32] kind-bytes step-bytes payload
//! ```
//!
//! `hash` is what [`crate::chain`] makes of the event and those before it. Numbers are little-endian; `length` is the body's, `kind` and `step` are the lengths of the names that
//! follow, 0 for no step. `encoding` is 0 for JSON text, 1 for bytes, 2 for bytes compressed as one LZ4 block
//! behind their length as `u32`.

use bytes::Bytes;

use crate::{
    build::Build,
    chain::{BYTES, Envelope, Hash, JSON},
    event::{Event, Payload, Record, STEP_OUTPUT, UnixMs},
    text::clip,
};

/// The format's version. A reader refuses a file with another one.
pub(crate) const VERSION: u32 = 2;
pub(crate) const HEADER_LEN: usize = 16;
pub(crate) const FRAME_LEN: usize = 8;
/// A longer body can only be damage: the runner cuts output into far smaller pieces.
pub(crate) const MAX_BODY: usize = 64 << 20;
const MAGIC: &[u8; 8] = b"dcd-jrnl";
const HASH_AT: usize = 20;
const BODY_HEAD: usize = HASH_AT + 32;

/// Beside the encodings of [`crate::chain`]: how bytes are stored, which their hash does not know.
const LZ4: u8 = 2;

/// Below this, compressing costs more than it saves.
const COMPRESS_FROM: usize = 512;

/// What is wrong with the bytes at some place of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The file does not start as a journal does.
    #[error("this is not a journal (it does not begin with the bytes `dcd-jrnl`)")]
    NotAJournal,
    /// The file is from a later dcd.
    #[error(
        "the journal has format version {0}, and this dcd reads up to version {VERSION}: use a newer dcd"
    )]
    NewerVersion(u32),
    /// The file is from before hashes were kept.
    #[error(
        "the journal has format version {0} of a dcd before the first release, which this one does not read: \
         remove the build's directory"
    )]
    OlderVersion(u32),
    /// The bytes end within a record, or are not what was written.
    #[error("the record at byte {offset} is damaged: {what}")]
    Record {
        /// Where the record starts.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
}

pub(crate) fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

pub(crate) fn check_header(header: &[u8; HEADER_LEN]) -> Result<(), Corruption> {
    if &header[..8] != MAGIC || u32_at(header, 12) != crc32fast::hash(&header[..12]) {
        return Err(Corruption::NotAJournal);
    }
    match u32_at(header, 8) {
        version if version > VERSION => Err(Corruption::NewerVersion(version)),
        version if version < VERSION => Err(Corruption::OlderVersion(version)),
        _ => Ok(()),
    }
}

/// Turns events into records. Keeps its buffers, so that a build's output costs no allocation.
#[derive(Default)]
pub(crate) struct Encoder {
    records: Vec<u8>,
    packed: Vec<u8>,
}

impl Encoder {
    /// The records so far.
    pub(crate) fn records(&self) -> &[u8] {
        &self.records
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
    }

    /// Hashes the event after `before`, and adds its record, which has so many bytes.
    pub(crate) fn encode(&mut self, event: &mut Event, before: Hash) -> usize {
        let payload = event.body.payload();
        let envelope = Envelope {
            seq: event.seq,
            at: event.at,
            kind: clip(event.body.kind(), usize::from(u8::MAX)),
            step: clip(event.step.as_deref().unwrap_or_default(), usize::from(u16::MAX)),
        };
        event.hash = envelope.hash(before, &payload);
        self.write(envelope, event.hash, &payload)
    }

    /// Adds a record as it is.
    pub(crate) fn copy(&mut self, record: &Record) -> usize {
        self.write(record.envelope(), record.hash, &record.payload)
    }

    fn write(&mut self, envelope: Envelope<'_>, hash: Hash, payload: &Payload) -> usize {
        let (encoding, content) = match payload {
            Payload::Json(text) => (JSON, text.as_bytes()),
            Payload::Bytes(bytes) => match compress(bytes, &mut self.packed) {
                Some(packed) => (LZ4, packed),
                None => (BYTES, bytes.as_ref()),
            },
        };
        let Envelope { seq, at, kind, step } = envelope;
        let length = BODY_HEAD + kind.len() + step.len() + content.len();
        let start = self.records.len();
        self.records.reserve(FRAME_LEN + length);
        let out = &mut self.records;
        // The casts hold: names are that short, and output comes in pieces far below 4 GiB.
        #[allow(clippy::cast_possible_truncation)]
        {
            out.extend_from_slice(&(length as u32).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&[encoding, kind.len() as u8]);
            out.extend_from_slice(&(step.len() as u16).to_le_bytes());
        }
        out.extend_from_slice(&hash.0);
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(step.as_bytes());
        out.extend_from_slice(content);
        let record = &mut out[start..];
        let crc = checksum(&record[..4], &record[FRAME_LEN..]);
        record[4..FRAME_LEN].copy_from_slice(&crc.to_le_bytes());
        record.len()
    }
}

/// A record's frame: the body's length and checksum.
pub(crate) struct Frame {
    pub(crate) length: usize,
    crc: u32,
    length_bytes: [u8; 4],
}

impl Frame {
    pub(crate) fn parse(bytes: [u8; FRAME_LEN], offset: u64) -> Result<Self, Corruption> {
        let length_bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let length = u32::from_le_bytes(length_bytes) as usize;
        if !(BODY_HEAD..=MAX_BODY).contains(&length) {
            return Err(Corruption::Record { offset, what: "its length is impossible" });
        }
        Ok(Frame { length, crc: u32_at(&bytes, 4), length_bytes })
    }

    /// The record that the body holds.
    pub(crate) fn decode(&self, body: &[u8], offset: u64) -> Result<Record, Corruption> {
        self.parts(body, offset)?.record(offset)
    }

    /// The same, but of what a step printed only its length: for who does not want the output, unpacking it
    /// would cost most of the reading.
    pub(crate) fn outline(&self, body: &[u8], offset: u64) -> Result<Outline, Corruption> {
        let parts = self.parts(body, offset)?;
        let bytes = match parts.encoding {
            BYTES if parts.kind == STEP_OUTPUT => parts.content.len() as u64,
            LZ4 if parts.kind == STEP_OUTPUT => match parts.content.first_chunk::<4>() {
                Some(length) => u64::from(u32::from_le_bytes(*length)),
                None => return Err(Corruption::Record { offset, what: "its output does not unpack" }),
            },
            _ => return parts.record(offset).map(Outline::Record),
        };
        let (step, hash) = (parts.step.to_owned(), parts.hash);
        Ok(Outline::Output { at: parts.at, step, bytes, hash })
    }

    fn parts<'a>(&self, body: &'a [u8], offset: u64) -> Result<Parts<'a>, Corruption> {
        let wrong = |what| Corruption::Record { offset, what };
        if body.len() != self.length {
            return Err(wrong("it is cut short"));
        }
        if checksum(&self.length_bytes, body) != self.crc {
            return Err(wrong("its checksum does not match"));
        }
        let kind_end = BODY_HEAD + usize::from(body[17]);
        let step_end = kind_end + usize::from(u16::from_le_bytes([body[18], body[19]]));
        if step_end > body.len() {
            return Err(wrong("its names are longer than itself"));
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| wrong("a name is not UTF-8"));
        let mut hash = Hash::default();
        hash.0.copy_from_slice(&body[HASH_AT..BODY_HEAD]);
        Ok(Parts {
            seq: u64_at(body, 0),
            at: u64_at(body, 8),
            encoding: body[16],
            hash,
            kind: text(&body[BODY_HEAD..kind_end])?,
            step: text(&body[kind_end..step_end])?,
            content: &body[step_end..],
        })
    }
}

/// A body, taken apart.
struct Parts<'a> {
    seq: u64,
    at: UnixMs,
    encoding: u8,
    hash: Hash,
    kind: &'a str,
    step: &'a str,
    content: &'a [u8],
}

impl Parts<'_> {
    fn record(&self, offset: u64) -> Result<Record, Corruption> {
        let wrong = |what| Corruption::Record { offset, what };
        let text = || String::from_utf8(self.content.to_vec()).map_err(|_| wrong("its JSON is not UTF-8"));
        let payload = match self.encoding {
            JSON => Payload::Json(text()?),
            BYTES => Payload::Bytes(Bytes::copy_from_slice(self.content)),
            LZ4 => {
                Payload::Bytes(decompress(self.content).ok_or_else(|| wrong("its output does not unpack"))?)
            }
            _ => return Err(wrong("its encoding is unknown")),
        };
        Ok(Record {
            seq: self.seq,
            at: self.at,
            kind: self.kind.to_owned(),
            step: (!self.step.is_empty()).then(|| self.step.into()),
            payload,
            hash: self.hash,
        })
    }
}

/// A record, or only how much a step printed.
pub(crate) enum Outline {
    /// Any record but output.
    Record(Record),
    /// What a step printed.
    Output {
        /// When.
        at: UnixMs,
        /// Which step.
        step: String,
        /// How many bytes.
        bytes: u64,
        /// The event's hash.
        hash: Hash,
    },
}

impl Outline {
    pub(crate) fn hash(&self) -> Hash {
        match self {
            Outline::Record(record) => record.hash,
            Outline::Output { hash, .. } => *hash,
        }
    }

    /// Adds what it says to the picture.
    pub(crate) fn apply(self, build: &mut Build) {
        match self {
            Outline::Record(record) => build.apply(&record.into_event()),
            Outline::Output { at, step, bytes, hash } => {
                build.count_output(&step, at, bytes);
                build.hash = hash;
            }
        }
    }
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    hasher.finalize()
}

/// The bytes behind their length as one LZ4 block, if that saves an eighth.
fn compress<'a>(bytes: &[u8], packed: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if bytes.len() < COMPRESS_FROM {
        return None;
    }
    let room = 4 + lz4_flex::block::get_maximum_output_size(bytes.len());
    if packed.len() < room {
        packed.resize(room, 0);
    }
    packed[..4].copy_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    let length = 4 + lz4_flex::block::compress_into(bytes, &mut packed[4..]).ok()?;
    (length < bytes.len() - bytes.len() / 8).then_some(&packed[..length])
}

fn decompress(content: &[u8]) -> Option<Bytes> {
    let (length, _) = content.split_first_chunk::<4>()?;
    // The length is checked before anything of that size is made.
    if u32::from_le_bytes(*length) as usize > MAX_BODY {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(content).ok().map(Bytes::from)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AttemptStarted, Body};
    use proptest::prelude::*;

    fn decode_all(mut bytes: &[u8]) -> Result<Vec<Record>, Corruption> {
        let mut records = Vec::new();
        while let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_LEN>() {
            let frame = Frame::parse(*frame, 0)?;
            let body = &rest[..frame.length.min(rest.len())];
            records.push(frame.decode(body, 0)?);
            bytes = &rest[body.len()..];
        }
        Ok(records)
    }

    #[test]
    fn the_bytes_are_pinned() {
        let mut event = Event {
            hash: Hash::default(),
            seq: 7,
            at: 1_700_000_000_000,
            step: Some("test".into()),
            body: Body::AttemptStarted(AttemptStarted { attempt: 1 }),
        };
        let mut bytes = header().to_vec();
        let mut encoder = Encoder::default();
        encoder.encode(&mut event, Hash::default());
        bytes.extend_from_slice(encoder.records());
        let hex = crate::text::hex(&bytes);
        insta::assert_snapshot!(hex, @"6463642d6a726e6c0200000043e1eccc5400000016ae5e9807000000000000000068e5cf8b010000000f0400c65dcd701c01b7ca3f97ca3368cb6b716cbf903ccdf69b882e4bea3a907beb39617474656d70742e73746172746564746573747b22617474656d7074223a317d");
    }

    proptest! {
        #[test]
        fn every_event_survives(
            seq: u64, at: u64,
            step in proptest::option::of("[a-zäß ]{1,40}"),
            output in proptest::collection::vec(any::<u8>(), 0..4096),
            repeat in 1_usize..20,
        ) {
            let mut event = Event {
                hash: Hash::default(), seq, at,
                step: step.map(Into::into),
                body: Body::StepOutput(output.repeat(repeat).into()),
            };
            let mut encoder = Encoder::default();
            encoder.encode(&mut event, Hash([3; 32]));
            let records = decode_all(encoder.records()).unwrap();
            prop_assert_eq!(records.len(), 1);
            let mut copied = Encoder::default();
            copied.copy(&records[0]);
            prop_assert_eq!(copied.records(), encoder.records());
            for record in records {
                prop_assert_eq!(record.into_event(), event.clone());
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0_usize..200, bit in 0_u8..8) {
            let body = Body::StepOutput(vec![b'x'; 180].into());
            let mut event = Event { seq: 1, at: 2, step: None, body, hash: Hash::default() };
            let mut encoder = Encoder::default();
            encoder.encode(&mut event, Hash::default());
            let mut bytes = encoder.records().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_all(&bytes).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_all(&bytes);
        }
    }
}
