//! Reading events: heads first, then what of the chunks is wanted.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildId, Event, EventPage};

use crate::chunk::{self, Head};
use crate::keys;
use crate::record;
use crate::request::Request;
use crate::table::Table;

/// The most that one page carries, so that a page of large events fits into a call.
const PAGE_BYTES: usize = 4 << 20;
/// How many heads one query asks for, at most.
const HEADS: usize = 200;
/// How many of them one call looks at: then the runner asks again.
const MANY_HEADS: usize = 4000;
/// How much is read at once.
const LOAD_BYTES: usize = 1 << 20;
const LOAD_PARTS: usize = 100;

pub(crate) fn read(
    table: &Table,
    id: &BuildId,
    step: Option<&str>,
    from_seq: u64,
    limit: u32,
) -> Result<EventPage, Error> {
    let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    // Before the events: one that is finished by now gets no more of them.
    let record = record::get(table, id)?;
    let tail = record.build.next_seq;
    let mut page = Page { step, from: from_seq, limit, items: Vec::new(), bytes: 0, next: from_seq };
    let mut looked_at = 0;
    while page.next < tail {
        if looked_at >= MANY_HEADS {
            return Ok(EventPage { items: page.items, next_seq: Some(page.next) });
        }
        let heads = heads(table, id, page.next, tail, limit.min(HEADS))?;
        looked_at += heads.len();
        if !page.fill(table, id, &heads)? {
            return Ok(EventPage { items: page.items, next_seq: Some(page.next) });
        }
    }
    let next_seq = (!record.is_finished()).then_some(page.next.max(tail));
    Ok(EventPage { items: page.items, next_seq })
}

/// The heads of chunks that follow each other, the first of which has the event `from`. At least one.
fn heads(table: &Table, id: &BuildId, from: u64, tail: u64, limit: usize) -> Result<Vec<Head>, Error> {
    let pk = keys::chunks(id);
    let start = if from == 0 {
        keys::chunk_from(0)
    } else {
        let query = Request::query(&pk, &keys::chunk_from(0), &keys::chunk_until(from)).backwards().limit(1);
        let items = table.query(query)?.items;
        let head = items.first().map(Head::read).transpose()?.ok_or_else(|| missing(id, from))?;
        keys::chunk_from(head.first)
    };
    let query = Request::query(&pk, &start, &keys::chunk_until(tail - 1)).limit(limit + 4);
    let page = table.query(query)?;
    let mut heads: Vec<Head> = page.items.iter().map(Head::read).collect::<Result<_, _>>()?;
    // Of the last one's kind there may be more.
    if page.more && heads.iter().any(|head| Some(head.first) != heads.last().map(|last| last.first)) {
        let last = heads.last().map(|last| last.first);
        heads.retain(|head| Some(head.first) != last);
    }
    let heads = chunk::counted(heads, tail);
    let mut next = heads.first().map_or(u64::MAX, |head| head.first);
    if next > from {
        return Err(missing(id, from));
    }
    for head in &heads {
        if head.first != next {
            return Err(missing(id, next));
        }
        next = head.end;
    }
    Ok(heads)
}

fn missing(id: &BuildId, seq: u64) -> Error {
    Error::other(format!("event {seq} of build {} of {} is missing in the table", id.number, id.component))
}

struct Page<'a> {
    step: Option<&'a str>,
    from: u64,
    limit: usize,
    items: Vec<Event>,
    bytes: usize,
    /// The first event that was not looked at.
    next: u64,
}

impl Page<'_> {
    /// Takes what is wanted of these chunks. False: the page is full.
    fn fill(&mut self, table: &Table, id: &BuildId, heads: &[Head]) -> Result<bool, Error> {
        let mut heads = heads.iter().peekable();
        while heads.peek().is_some() {
            let (mut load, mut parts, mut bytes, mut events) = (Vec::new(), Vec::new(), 0, 0);
            while let Some(head) = heads.next_if(|head| {
                load.is_empty()
                    || (bytes + head.size <= LOAD_BYTES
                        && parts.len() < LOAD_PARTS
                        && events <= self.limit as u64)
            }) {
                if self.step.is_none_or(|step| head.has(step)) {
                    parts.extend(head.parts(id));
                    bytes += head.size;
                    events += head.end - head.first;
                    load.push((head, true));
                } else {
                    load.push((head, false));
                }
            }
            let items = if parts.is_empty() { Vec::new() } else { table.get_all(&parts)? };
            for (head, is_wanted) in load {
                let events = if is_wanted { head.events(id, &items)? } else { Vec::new() };
                if !self.take(events, head.end) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Takes a chunk's events. False: the page is full.
    fn take(&mut self, events: Vec<Event>, end: u64) -> bool {
        for event in events.into_iter().filter(|event| event.seq >= self.from) {
            if self.items.len() >= self.limit || self.bytes >= PAGE_BYTES {
                return false;
            }
            self.next = event.seq + 1;
            if self.step.is_none() || self.step == event.step.as_deref() {
                self.bytes += chunk::size(&event);
                self.items.push(event);
            }
        }
        self.next = end;
        true
    }
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::history::Payload;

    use super::*;

    #[test]
    fn a_page_ends_where_it_is_full() {
        let event = |seq: u64, step: &str, length: usize| Event {
            seq,
            at: 0,
            kind: "step.output".into(),
            step: Some(step.into()),
            payload: Payload::Bytes(vec![b'x'; length]),
            hash: Vec::new(),
        };
        let page = |step, from, limit| Page { step, from, limit, items: Vec::new(), bytes: 0, next: from };
        let events = || vec![event(4, "a", 1), event(5, "b", 1), event(6, "a", 1)];

        let mut some = page(None, 5, 10);
        assert!(some.take(events(), 7));
        assert_eq!((some.items.len(), some.next), (2, 7));

        let mut full = page(None, 4, 2);
        assert!(!full.take(events(), 7));
        assert_eq!((full.items.len(), full.next), (2, 6));

        let mut of_step = page(Some("a"), 4, 1);
        assert!(!of_step.take(events(), 7));
        assert_eq!((of_step.items.len(), of_step.next), (1, 5));
        let mut of_none = page(Some("c"), 4, 1);
        assert!(of_none.take(events(), 7));
        assert_eq!((of_none.items.len(), of_none.next), (0, 7));

        let mut large = page(None, 0, 10);
        assert!(!large.take(vec![event(0, "a", PAGE_BYTES), event(1, "a", 1)], 2));
        assert_eq!((large.items.len(), large.next), (1, 1));
    }
}
