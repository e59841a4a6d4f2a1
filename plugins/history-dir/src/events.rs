//! A build's events, one file per batch; the files' names say what is in them.

use std::fs;
use std::path::PathBuf;

use dcd_plugin_sdk::history::{Event, EventPage, Payload, prune};
use dcd_plugin_sdk::{Error, Help as _};
use shared::line;

use crate::files;
use crate::layout::BuildDir;

/// The most that one page carries, so that a page of large events fits into a call.
const PAGE_BYTES: usize = 4 << 20;

/// The events that are stored without a gap from the first.
pub(crate) struct Events {
    dir: PathBuf,
    batches: Vec<Batch>,
}

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    first: u64,
    next: u64,
    /// Where this file's part of the sequence begins: two writers may have stored the same events.
    from: u64,
}

impl Batch {
    fn parse(name: &str) -> Option<Self> {
        let (first, next) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let (first, next) = (first.parse().ok()?, next.parse().ok()?);
        let batch = Self { first, next, from: first };
        (batch.name() == name && first < next).then_some(batch)
    }

    fn name(&self) -> String {
        format!("{:020}-{:020}.jsonl", self.first, self.next)
    }
}

impl Events {
    pub(crate) fn open(build: &BuildDir) -> Result<Self, Error> {
        let dir = build.events();
        let mut all: Vec<_> = files::names(&dir)?.iter().filter_map(|name| Batch::parse(name)).collect();
        all.sort_unstable();
        let mut events = Self { dir, batches: Vec::new() };
        for batch in all {
            let tail = events.tail();
            if batch.first <= tail && batch.next > tail {
                events.batches.push(Batch { from: tail, ..batch });
            }
        }
        Ok(events)
    }

    /// The first sequence number that is not stored.
    pub(crate) fn tail(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    /// Stores a batch that begins at the tail; the answer is the new tail.
    pub(crate) fn append(&self, events: &[Event]) -> Result<u64, Error> {
        let first = self.tail();
        for (event, seq) in events.iter().zip(first..) {
            if event.seq != seq {
                let message = format!("an event has the sequence number {} in the place of {seq}", event.seq);
                return Err(Error::other(message));
            }
        }
        let next = first + events.len() as u64;
        self.write(Batch { first, next, from: first }, events)?;
        Ok(next)
    }

    fn write(&self, batch: Batch, events: &[Event]) -> Result<(), Error> {
        let mut lines = Vec::new();
        for event in events {
            line::write(event, &mut lines)?;
        }
        files::replace(&self.dir.join(batch.name()), &lines)
    }

    /// Drops what the steps printed, file by file. Answers how many bytes.
    pub(crate) fn prune(&self) -> Result<u64, Error> {
        let mut dropped = 0;
        for batch in &self.batches {
            let text = self.text(*batch)?;
            let mut events = self.events(*batch, &text, batch.first).collect::<Result<Vec<_>, _>>()?;
            let mut of_batch = 0;
            for event in &mut events {
                let bytes = prune(event);
                of_batch += bytes;
                if event.seq >= batch.from {
                    dropped += bytes;
                }
            }
            if of_batch > 0 {
                self.write(*batch, &events)?;
            }
        }
        // Other files say again what is in those, but for what a runner that was only away has added meanwhile.
        for name in files::names(&self.dir)? {
            let is_unused = |batch: Batch| {
                batch.first < self.tail() && self.batches.iter().all(|used| used.name() != batch.name())
            };
            if Batch::parse(&name).is_some_and(is_unused) {
                let path = self.dir.join(name);
                fs::remove_file(&path).context(format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(dropped)
    }

    pub(crate) fn read(
        &self,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
        is_finished: bool,
    ) -> Result<EventPage, Error> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let (mut items, mut bytes, mut next) = (Vec::new(), 0, from_seq);
        for batch in self.batches.iter().filter(|batch| batch.next > from_seq) {
            let text = self.text(*batch)?;
            for event in self.events(*batch, &text, from_seq.max(batch.from)) {
                if items.len() >= limit || bytes >= PAGE_BYTES {
                    return Ok(EventPage { items, next_seq: Some(next) });
                }
                let event = event?;
                next = event.seq + 1;
                if step.is_none() || step == event.step.as_deref() {
                    bytes += size(&event);
                    items.push(event);
                }
            }
        }
        Ok(EventPage { items, next_seq: (!is_finished).then_some(next) })
    }

    fn text(&self, batch: Batch) -> Result<String, Error> {
        Ok(files::read(&self.dir.join(batch.name()))?.unwrap_or_default())
    }

    /// The events of a file from `from` on. Lines before and behind those that are wanted are not read: pages may be
    /// much shorter than files.
    fn events<'a>(
        &'a self,
        batch: Batch,
        text: &'a str,
        from: u64,
    ) -> impl Iterator<Item = Result<Event, Error>> + 'a {
        let before = usize::try_from(from - batch.first).unwrap_or(usize::MAX);
        let mut lines = text.split_terminator('\n').skip(before);
        (from..batch.next).map(move |seq| {
            let place =
                || format!("{}, line {}", self.dir.join(batch.name()).display(), seq - batch.first + 1);
            let read = line::read(lines.next().unwrap_or_default());
            let event = read.map_err(|error| error.context(place()))?;
            if event.seq == seq {
                return Ok(event);
            }
            Err(Error::other(format!("{}: it is event {}, and should be {seq}", place(), event.seq)))
        })
    }
}

fn size(event: &Event) -> usize {
    let payload = match &event.payload {
        Payload::Json(json) => json.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    payload + event.kind.len() + 32
}
