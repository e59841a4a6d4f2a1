//! A run of events as it is kept: a head, which says what is in it, and the events themselves; in the head where they
//! do not make it cost more, else in items of their own, as many as they need.
//!
//! So the heads of a build are small, and of one step only those events are read that share a chunk with its own.

use std::collections::BTreeSet;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildId, Event, Payload};

use crate::item::{self, Item, Key};
use crate::keys;
use crate::pack;

/// What the items of a chunk hold at most, so that one step's are not too many.
const CHUNK_BYTES: usize = 256 << 10;
/// So that what is left of a chunk's events after their output was dropped always fits into one item.
const CHUNK_EVENTS: usize = 1000;
/// What an item holds at most besides its key and names (`DynamoDB`: 400 KB in all).
const PART_BYTES: usize = 390_000;
/// What writing one item costs one unit for.
const UNIT_BYTES: usize = 1024;

/// How many events from the first on make a chunk. At least one, however large.
pub(crate) fn cut(events: &[Event]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += size(event);
        bytes <= CHUNK_BYTES
    };
    events.iter().take(CHUNK_EVENTS).take_while(fits).count().max(1)
}

/// About how many bytes an event has.
pub(crate) fn size(event: &Event) -> usize {
    let payload = match &event.payload {
        Payload::Json(json) => json.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    payload + event.kind.len() + event.step.as_ref().map_or(0, String::len) + event.hash.len() + 16
}

/// The items of a chunk: its parts, which are to be written first, and its head.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) parts: Vec<Item>,
    pub(crate) head: Item,
}

/// Makes a chunk of events that follow each other. `id` is one that no other data has.
pub(crate) fn write(build: &BuildId, fence: u64, events: &[Event], id: &str) -> Result<Items, Error> {
    let first = events.first().map_or(0, |event| event.seq);
    let data = pack::pack(events)?;
    let mut head = head(&keys::chunk(build, first, fence), first, events)?;
    head.insert("data".to_owned(), item::bytes(&data));
    if item::size(&head) <= UNIT_BYTES {
        return Ok(Items { parts: Vec::new(), head });
    }
    let parts: Vec<Item> = (0..)
        .zip(data.chunks(PART_BYTES))
        .map(|(index, part)| keys::part(build, first, id, index).with([("data", item::bytes(part))]))
        .collect();
    head.remove("data");
    head.insert("id".to_owned(), item::text(id));
    head.insert("parts".to_owned(), item::number(parts.len() as u64));
    Ok(Items { parts, head })
}

/// The head that a chunk has once its output was dropped, which has all in it.
pub(crate) fn write_pruned(key: &Key, events: &[Event]) -> Result<Item, Error> {
    let first = events.first().map_or(0, |event| event.seq);
    let mut head = head(key, first, events)?;
    head.insert("data".to_owned(), item::bytes(&pack::pack(events)?));
    Ok(head)
}

fn head(key: &Key, first: u64, events: &[Event]) -> Result<Item, Error> {
    let steps: BTreeSet<&str> = events.iter().filter_map(|event| event.step.as_deref()).collect();
    Ok(key.with([
        ("end", item::number(first + events.len() as u64)),
        ("steps", item::text(&serde_json::to_string(&steps)?)),
        ("output", item::number(events.iter().map(output).sum())),
        ("size", item::number(events.iter().map(size).sum::<usize>() as u64)),
    ]))
}

/// How many bytes can be dropped of an event: see `history::prune`.
fn output(event: &Event) -> u64 {
    match &event.payload {
        Payload::Bytes(bytes) if event.kind == "step.output" => bytes.len() as u64,
        Payload::Bytes(_) | Payload::Json(_) => 0,
    }
}

/// A chunk's head, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) key: Key,
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// About how many bytes its events have.
    pub(crate) size: usize,
    /// How many bytes of output it has that can be dropped.
    pub(crate) output: u64,
    steps: Vec<String>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Here(Vec<u8>),
    Parts { id: String, count: u64 },
}

impl Head {
    pub(crate) fn read(item: &Item) -> Result<Self, Error> {
        let key = Key::new(item::get_text(item, "pk")?, item::get_text(item, "sk")?);
        let first = keys::parse_first(&key.sk).ok_or_else(|| item::damaged(item, "sk"))?;
        let place = match item::find_bytes(item, "data") {
            Some(data) => Place::Here(data),
            None => Place::Parts {
                id: item::get_text(item, "id")?.to_owned(),
                count: item::get_number(item, "parts")?,
            },
        };
        Ok(Self {
            first,
            end: item::get_number(item, "end")?,
            size: usize::try_from(item::get_number(item, "size")?).unwrap_or(usize::MAX),
            output: item::get_number(item, "output")?,
            steps: serde_json::from_str(item::get_text(item, "steps")?)
                .map_err(|_| item::damaged(item, "steps"))?,
            place,
            key,
        })
    }

    /// Whether it has events of this step.
    pub(crate) fn has(&self, step: &str) -> bool {
        self.steps.iter().any(|own| own == step)
    }

    /// The items that its events are in.
    pub(crate) fn parts(&self, build: &BuildId) -> Vec<Key> {
        match &self.place {
            Place::Here(_) => Vec::new(),
            Place::Parts { id, count } => {
                (0..*count).map(|index| keys::part(build, self.first, id, index)).collect()
            }
        }
    }

    /// Its events. `parts` has the items that [`Head::parts`] names, among others.
    pub(crate) fn events(&self, build: &BuildId, parts: &[Item]) -> Result<Vec<Event>, Error> {
        let damaged = |what: &str| item::damaged(&self.key.item(), what);
        let events = match &self.place {
            Place::Here(data) => pack::unpack(data, self.first)?,
            Place::Parts { .. } => {
                let mut data = Vec::new();
                for key in self.parts(build) {
                    let part = parts.iter().find(|item| item::find_text(item, "sk") == Some(key.sk.as_str()));
                    let part = part.and_then(|item| item::find_bytes(item, "data"));
                    data.extend(part.ok_or_else(|| damaged(&format!("the item {} is missing", key.sk)))?);
                }
                pack::unpack(&data, self.first)?
            }
        };
        if self.first + events.len() as u64 == self.end { Ok(events) } else { Err(damaged("end")) }
    }
}

/// Leaves out heads that were written, but never counted: of those that begin with the same event, the one that was
/// written under the last lease counts. `heads` are in the order of their keys.
pub(crate) fn counted(heads: Vec<Head>, tail: u64) -> Vec<Head> {
    let mut counted: Vec<Head> = Vec::with_capacity(heads.len());
    for head in heads {
        if head.first >= tail {
            break;
        }
        counted.pop_if(|last| last.first == head.first);
        counted.push(head);
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> BuildId {
        BuildId { component: "shop".into(), number: 7 }
    }

    fn event(seq: u64, step: &str, bytes: &[u8]) -> Event {
        Event {
            seq,
            at: 1,
            kind: "step.output".into(),
            step: Some(step.into()),
            payload: Payload::Bytes(bytes.to_vec()),
            hash: vec![7; 32],
        }
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[3]
            })
            .collect()
    }

    #[test]
    fn small_chunks_are_one_item_and_large_ones_are_cut_to_what_an_item_holds() {
        let small = write(&build(), 1, &[event(3, "test", b"ok\n")], "id").unwrap();
        assert_eq!(small.parts.len(), 0);
        assert!(item::size(&small.head) <= UNIT_BYTES);
        let large = write(&build(), 1, &[event(3, "test", &noise(4 << 20))], "id").unwrap();
        assert_eq!(large.parts.len(), 11);
        assert!(large.parts.iter().all(|part| item::size(part) < 400_000));
        assert!(item::size(&large.head) <= UNIT_BYTES);
        for items in [small, large] {
            let head = Head::read(&items.head).unwrap();
            assert_eq!((head.first, head.end), (3, 4));
            assert!(head.has("test") && !head.has("tes"));
            assert_eq!(head.parts(&build()).len(), items.parts.len());
            let events = head.events(&build(), &items.parts).unwrap();
            assert_eq!(output(&events[0]), head.output);
            if let Some((_, some)) = items.parts.split_first() {
                let error = head.events(&build(), some).unwrap_err().to_string();
                assert!(error.ends_with("#id#000 is missing"), "{error}");
            }
        }
    }

    #[test]
    fn a_chunk_has_a_bounded_size_or_one_event() {
        let many: Vec<_> = (0..1500).map(|seq| event(seq, "test", b"")).collect();
        assert_eq!(cut(&many), 1000);
        let half = noise(100 << 10);
        let halves: Vec<_> = (0..4).map(|seq| event(seq, "test", &half)).collect();
        assert_eq!(cut(&halves), 2);
        assert_eq!(cut(&[event(0, "test", &noise(4 << 20)), event(1, "test", b"")]), 1);
    }

    #[test]
    fn what_is_left_of_pruned_chunks_fits_into_an_item() {
        // As many events as a chunk has, half of them of noise that stays.
        let mut events: Vec<_> = (0..1000).map(|seq| event(seq, "test", &noise(170))).collect();
        for event in events.iter_mut().step_by(2) {
            event.kind = "blob".into();
        }
        assert_eq!(cut(&events), 1000);
        let dropped: u64 = events.iter_mut().map(dcd_plugin_sdk::history::prune).sum();
        assert_eq!(dropped, 500 * 170);
        let head = write_pruned(&keys::chunk(&build(), 0, 1), &events).unwrap();
        assert!(item::size(&head) < 400_000, "{}", item::size(&head));
        let head = Head::read(&head).unwrap();
        assert_eq!((head.output, head.end), (0, 1000));
        assert_eq!(head.events(&build(), &[]).unwrap().len(), 1000);
    }

    #[test]
    fn of_chunks_that_begin_alike_the_last_writer_s_counts() {
        let head = |first: u64, fence: u64, end: u64| {
            let events: Vec<_> = (first..end).map(|seq| event(seq, "test", b"x")).collect();
            Head::read(&write(&build(), fence, &events, "id").unwrap().head).unwrap()
        };
        let all =
            vec![head(0, 1, 3), head(3, 1, 9), head(3, 2, 5), head(5, 2, 6), head(6, 1, 7), head(6, 2, 8)];
        let ends = |tail| counted(all.clone(), tail).iter().map(|head| head.end).collect::<Vec<_>>();
        assert_eq!(ends(8), [3, 5, 6, 8]);
        // The last two were never counted.
        assert_eq!(ends(6), [3, 5, 6]);
        assert_eq!(ends(0), [] as [u64; 0]);
    }
}
