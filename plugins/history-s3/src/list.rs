//! Builds, newest first: a component's newest from their records, the others from segments.
//!
//! Within a component the higher number is newer; between components the later start is. The cursor says for each component
//! which number comes next: builds that begin while somebody turns pages are on none of them, and none is shown twice.

use std::collections::{BTreeMap, VecDeque};

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Build, BuildFilter, BuildPage, Page};

use crate::document::{self, Version};
use crate::index::Index;
use crate::layout::{self, SEGMENT};
use crate::record::Record;
use crate::segment;
use crate::store::{Object, Store};

const LONGEST_PAGE: u32 = 10_000;
/// The most metadata and summaries that a page carries, so that it fits into a call.
const LARGEST_PAGE: usize = 24 << 20;
/// How many segments a page may cost, however few of their builds fit.
const SEGMENTS: usize = 64;
/// How many records are read together, and how many segments, at first and at most.
const FIRST_RECORDS: u64 = 8;
const MOST_RECORDS: u64 = 32;
const FIRST_SEGMENTS: u64 = 2;
const MOST_SEGMENTS: u64 = 8;
/// How far beyond the highest number that is noted others are looked for.
const BEYOND: usize = 2;

pub(crate) fn builds(store: &Store, filter: &BuildFilter, page: &Page) -> Result<BuildPage, Error> {
    let limit = page.limit.clamp(1, LONGEST_PAGE) as usize;
    let mut queues = queues(store, filter, page, limit as u64)?;
    let (mut items, mut page_bytes, mut segments) = (Vec::new(), 0, 0);
    loop {
        queues.retain(|queue| !queue.builds.is_empty() || queue.next > 0);
        let Some(newest) = queues.iter().map(Queue::newest).max() else {
            return Ok(BuildPage { items, next: None });
        };
        let best = queues.iter().filter_map(|queue| queue.builds.front()).map(|build| build.started_at).max();
        let is_full = items.len() >= limit || page_bytes >= LARGEST_PAGE;
        // When the page is full, it is still to be known whether there is another one.
        if is_full && best.is_some() {
            return Ok(BuildPage { items, next: Some(write_cursor(&queues)) });
        }
        let floor = best.unwrap_or(newest);
        if queues.iter().any(|queue| queue.wants(floor)) {
            if segments >= SEGMENTS {
                return Ok(BuildPage { items, next: Some(write_cursor(&queues)) });
            }
            segments += fill(store, &mut queues, filter, floor)?;
            continue;
        }
        let first = queues.iter_mut().max_by_key(|queue| queue.builds.front().map(|build| build.started_at));
        if let Some(build) = first.and_then(|queue| queue.builds.pop_front()) {
            page_bytes += build.metadata.len() + build.summary.as_ref().map_or(0, String::len);
            items.push(build);
        }
    }
}

/// What is left of one component.
struct Queue {
    index: Index,
    /// The highest number that is not read yet; 0 when all are.
    next: u64,
    /// The highest that is wanted of what is being read.
    last: u64,
    /// Those that are read, and fit.
    builds: VecDeque<Build>,
    /// How many records, or segments, are read next.
    window: u64,
    /// How many segments are read first.
    segments: u64,
    /// How many bytes the builds of a segment are, by those read so far; and those of segments read together, at most.
    weight: usize,
    budget: usize,
}

/// An object that a queue wants.
enum Want {
    Build(u64),
    Segment(u64),
}

/// The components that the page may have builds of.
fn queues(store: &Store, filter: &BuildFilter, page: &Page, limit: u64) -> Result<Vec<Queue>, Error> {
    let cursor = page.cursor.as_deref().map(read_cursor).transpose()?;
    let names = match (&filter.component, &cursor) {
        (Some(component), _) => vec![component.clone()],
        // Others have begun since.
        (None, Some(cursor)) => cursor.keys().cloned().collect(),
        (None, None) => {
            let listed = store.list(layout::COMPONENTS, None, usize::MAX)?;
            listed.iter().filter_map(|object| layout::component_of(&object.key)).collect()
        }
    };
    let keys: Vec<_> = names.iter().map(|name| layout::component(name)).collect();
    // Of many components each has few of the newest builds, and little of the memory.
    let many = names.len().max(1);
    let share = limit / many as u64;
    let first = if many == 1 { FIRST_SEGMENTS } else { 1 };
    let windows = (share.clamp(1, FIRST_RECORDS), share.div_ceil(SEGMENT).clamp(1, first));
    let budget = LARGEST_PAGE / many;
    let mut queues = Vec::new();
    let mut indexes = Vec::new();
    for ((name, key), object) in names.iter().zip(&keys).zip(store.get_all(&keys)?) {
        let index = match object {
            Some(object) => document::parse::<Index>(key, object)?.document,
            // It may just be beginning.
            None => Index::new(name),
        };
        match &cursor {
            Some(cursor) => {
                if let Some(next) = cursor.get(name) {
                    queues.push(Queue::new(index, *next, windows, budget));
                }
            }
            None => indexes.push(index),
        }
    }
    let highest = highest(store, &indexes)?;
    queues.extend(
        indexes.into_iter().zip(highest).map(|(index, highest)| Queue::new(index, highest, windows, budget)),
    );
    Ok(queues)
}

/// The components' highest numbers, which may not be noted yet.
fn highest(store: &Store, indexes: &[Index]) -> Result<Vec<u64>, Error> {
    let beyond = |component: &str, highest: u64, many: u64| -> Vec<String> {
        (highest + 1..=highest + many).map(|number| layout::build(component, number)).collect()
    };
    let there =
        |objects: &[Option<Object>]| objects.iter().take_while(|object| object.is_some()).count() as u64;
    let keys: Vec<_> =
        indexes.iter().flat_map(|index| beyond(&index.component, index.highest, BEYOND as u64)).collect();
    let objects = store.get_all(&keys)?;
    let mut all = Vec::new();
    for (index, objects) in indexes.iter().zip(objects.chunks(BEYOND)) {
        let (mut many, mut found) = (BEYOND as u64, there(objects));
        let mut highest = index.highest + found;
        while found == many {
            many = (many * 2).min(MOST_RECORDS);
            found = there(&store.get_all(&beyond(&index.component, highest, many))?);
            highest += found;
        }
        all.push(highest);
    }
    Ok(all)
}

/// Reads on for those that have nothing and may have what started at `floor` or later; how many segments it took.
fn fill(store: &Store, queues: &mut [Queue], filter: &BuildFilter, floor: u64) -> Result<usize, Error> {
    let mut wanted = Vec::new();
    for (index, queue) in queues.iter_mut().enumerate() {
        if queue.wants(floor) {
            wanted.extend(queue.plan(filter).into_iter().map(|want| (index, want)));
        }
    }
    let key = |(index, want): &(usize, Want)| want.key(&queues[*index].index.component);
    let keys: Vec<_> = wanted.iter().map(key).collect();
    let objects = store.get_all(&keys)?;
    let now = store.now();
    let mut segments = 0;
    for (((index, want), key), object) in wanted.iter().zip(&keys).zip(objects) {
        segments += usize::from(matches!(want, Want::Segment(_)));
        if let Some(object) = object {
            queues[*index].take(want, key, object, filter, now)?;
        }
    }
    for queue in queues {
        queue.builds.make_contiguous().sort_unstable_by_key(|build| u64::MAX - build.id.number);
    }
    Ok(segments)
}

impl Queue {
    fn new(index: Index, next: u64, (records, segments): (u64, u64), budget: usize) -> Self {
        let window = if next > index.through { records } else { segments };
        Self { index, next, last: next, builds: VecDeque::new(), window, segments, weight: 0, budget }
    }

    /// Whether it has to be read on, when all that is known of the others started before `floor`.
    fn wants(&self, floor: u64) -> bool {
        self.builds.is_empty() && self.next > 0 && self.newest() >= floor
    }

    /// The latest that the next of its builds may have started, as far as that is known without reading it.
    fn newest(&self) -> u64 {
        if let Some(build) = self.builds.front() {
            return build.started_at;
        }
        let segment = layout::segment_of(self.next);
        let is_loose = |number: &u64| layout::segment_of(*number) == segment && *number <= self.next;
        if self.next > self.index.through || self.index.loose.iter().any(is_loose) {
            return u64::MAX;
        }
        self.index.started_last(segment)
    }

    /// What is to be read next. It moves on over it.
    fn plan(&mut self, filter: &BuildFilter) -> Vec<Want> {
        let through = self.index.through;
        self.last = self.next;
        if self.next > through {
            let first = self.next.saturating_sub(self.window).max(through) + 1;
            let wants = (first..=self.next).rev().map(Want::Build).collect();
            self.next = first - 1;
            let is_settled = self.next <= through;
            self.window = if is_settled { self.segments } else { (self.window * 2).min(MOST_RECORDS) };
            return wants;
        }
        let mut wants = Vec::new();
        let mut left = self.window.min((self.budget / self.weight.max(1)) as u64).clamp(1, MOST_SEGMENTS);
        while left > 0 && self.next > 0 {
            let segment = layout::segment_of(self.next);
            let first = segment * SEGMENT + 1;
            if self.index.may_fit(segment, filter) {
                wants.push(Want::Segment(segment));
                left -= 1;
            }
            let loose = self.index.loose.iter().filter(|number| (first..=self.next).contains(*number));
            wants.extend(loose.map(|number| Want::Build(*number)));
            self.next = first - 1;
        }
        self.window = (self.window * 4).min(MOST_SEGMENTS);
        wants
    }

    fn take(
        &mut self,
        want: &Want,
        key: &str,
        object: Object,
        filter: &BuildFilter,
        now: u64,
    ) -> Result<(), Error> {
        let component = &self.index.component;
        match want {
            Want::Build(_) => {
                let Version { document, .. } = document::parse::<Record>(key, object)?;
                self.builds.extend(Some(document.build(now)).filter(|build| filter.fits(build)));
            }
            Want::Segment(_) => {
                let (entries, weight) = segment::read(key, &object.bytes)?;
                self.weight = self.weight.max(weight);
                let settled = entries
                    .into_iter()
                    .filter(|entry| entry.number <= self.last && self.index.is_settled(entry.number));
                let fitting =
                    settled.map(|entry| entry.build(component, now)).filter(|build| filter.fits(build));
                self.builds.extend(fitting);
            }
        }
        Ok(())
    }

    /// Which number comes next.
    fn head(&self) -> u64 {
        self.builds.front().map_or(self.next, |build| build.id.number)
    }
}

impl Want {
    fn key(&self, component: &str) -> String {
        match self {
            Self::Build(number) => layout::build(component, *number),
            Self::Segment(segment) => layout::segment(component, *segment),
        }
    }
}

fn write_cursor(queues: &[Queue]) -> String {
    let entry = |queue: &Queue| format!("{}={}", layout::encode(&queue.index.component), queue.head());
    queues.iter().map(entry).collect::<Vec<_>>().join(",")
}

fn read_cursor(cursor: &str) -> Result<BTreeMap<String, u64>, Error> {
    let entry = |entry: &str| {
        let (name, number) = entry.split_once('=')?;
        Some((layout::decode(name)?, number.parse().ok()?))
    };
    let entries: Option<BTreeMap<_, _>> = cursor.split(',').map(entry).collect();
    entries.ok_or_else(|| Error::other("the cursor is not one that this backend gave"))
}
