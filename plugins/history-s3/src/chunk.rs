//! Objects with events: lines of JSON, compressed.

use std::io::{Read as _, Write as _};

use dcd_plugin_sdk::history::Event;
use dcd_plugin_sdk::{Error, Help as _};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use shared::line;

/// How much text makes a chunk of its own, however much comes at once.
const LARGEST: usize = 4 << 20;
/// A chunk shorter than this takes up what comes next, so that a build that prints a line now and then has not thousands of
/// them. The more there are, the larger they become.
const SHORT: usize = 64 << 10;
const SHORT_AT_MOST: usize = 1 << 20;

/// Some events as lines.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) text: Vec<u8>,
    /// The names of their steps, each once.
    pub(crate) steps: Vec<String>,
}

impl Lines {
    fn new(first: u64, text: Vec<u8>) -> Self {
        Self { first, next: first, text, steps: Vec::new() }
    }
}

/// Whether a chunk of so many bytes takes up more, when there are so many chunks.
pub(crate) fn is_short(bytes: usize, chunks: usize) -> bool {
    bytes < (SHORT * (1 + chunks / 64)).min(SHORT_AT_MOST)
}

/// Puts events into lines, in as many parts as they need. The first part begins with `before`, the lines of a chunk that is
/// to be longer.
pub(crate) fn split(events: &[Event], first: u64, before: Vec<u8>) -> Result<Vec<Lines>, Error> {
    let mut parts = Vec::new();
    let mut part = Lines::new(first, before);
    for (event, seq) in events.iter().zip(first..) {
        if event.seq != seq {
            let message = format!("an event has the sequence number {} in the place of {seq}", event.seq);
            return Err(Error::other(message));
        }
        if part.text.len() >= LARGEST {
            parts.push(std::mem::replace(&mut part, Lines::new(seq, Vec::new())));
        }
        line::write(event, &mut part.text)?;
        part.next = seq + 1;
        if let Some(step) = &event.step
            && !part.steps.contains(step)
        {
            part.steps.push(step.clone());
        }
    }
    parts.push(part);
    Ok(parts)
}

/// Reads the events `from..next` of a chunk's lines, which begin with event `first`, one after the other. There may be more
/// lines, which do not count.
pub(crate) fn events<'a>(
    key: &'a str,
    text: &'a [u8],
    (first, from, next): (u64, u64, u64),
) -> impl Iterator<Item = Result<Event, Error>> + 'a {
    let mut lines = text.split(|byte| *byte == b'\n');
    // So that a page from the middle costs no more than what is on it.
    let before = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
    if let Some(last) = before.checked_sub(1) {
        lines.nth(last);
    }
    (first.max(from)..next).map(move |seq| {
        let line = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        let event = line::read(line).context(format!("{key}, event {seq}, is damaged"))?;
        if event.seq == seq {
            Ok(event)
        } else {
            Err(Error::other(format!("{key} has event {} in the place of {seq}", event.seq)))
        }
    })
}

pub(crate) fn compress(text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?)
}

pub(crate) fn decompress(key: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut text = Vec::with_capacity(bytes.len() * 6);
    GzDecoder::new(bytes).read_to_end(&mut text).context(format!("{key} is damaged"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::history::Payload;

    use super::*;

    fn event(seq: u64, bytes: usize) -> Event {
        let step =
            ["one", "two"].get(usize::try_from(seq % 3).unwrap_or_default()).map(|step| (*step).to_owned());
        let payload = Payload::Bytes(vec![b'x'; bytes]);
        Event { seq, at: seq, kind: "step.output".into(), step, payload, hash: vec![7; 32] }
    }

    #[test]
    fn events_come_back_from_their_chunk() -> Result<(), Error> {
        let list: Vec<_> = (3..9).map(|seq| event(seq, 10)).collect();
        let parts = split(&list, 3, Vec::new())?;
        assert_eq!((parts.len(), parts[0].first, parts[0].next), (1, 3, 9));
        assert_eq!(parts[0].steps, ["one", "two"]);
        let text = decompress("k", &compress(&parts[0].text)?)?;
        let read = |range| events("k", &text, range).collect::<Result<Vec<_>, _>>();
        assert_eq!(read((3, 0, 9))?, list);
        assert_eq!(read((3, 3, 5))?, list[..2], "lines that do not count");
        assert_eq!(read((3, 6, 8))?, list[3..5]);
        assert!(read((3, 3, 10)).is_err() && read((4, 4, 9)).is_err());
        assert!(decompress("k", b"no gzip").is_err());
        Ok(())
    }

    #[test]
    fn large_batches_are_parted() -> Result<(), Error> {
        let list: Vec<_> = (0..10).map(|seq| event(seq, 1 << 20)).collect();
        let parts = split(&list, 0, Vec::new())?;
        let bounds: Vec<_> = parts.iter().map(|part| (part.first, part.next)).collect();
        assert_eq!(bounds, [(0, 4), (4, 8), (8, 10)]);
        assert!(split(&list, 1, Vec::new()).is_err());
        Ok(())
    }

    #[test]
    fn chunks_grow_with_their_number() {
        assert!(is_short(0, 0) && is_short(65_535, 1) && !is_short(65_536, 1));
        assert!(is_short(100_000, 64) && !is_short(2 << 20, 1_000_000));
    }
}
