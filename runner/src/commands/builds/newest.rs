//! Builds, newest first, of this workspace and of the history backend: no more of them is read than is asked for.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    io::ErrorKind,
};

use crate::{
    build::Build,
    commands::{
        builds::{Criteria, warn_local},
        output::warn,
    },
    engine::ports::backend::{Backend, BackendError, Listed},
    event::UnixMs,
    journal::{BuildDir, Store},
    plugin::{Host, backend::HistoryPlugin},
    report::Summary,
};

/// How long after its id a build may start: plugins are compiled in between.
const SLACK: UnixMs = 10 * 60 * 1000;
/// The most that a backend is asked for at once: it may read the same segments of its store again for each page.
const LONGEST_PAGE: usize = 10_000;
/// The first that it is asked for where not all of them fit: those that are wanted may be among the newest.
const FIRST_PAGE: usize = 1000;

/// The builds of both that fit, the workspace's first where both have one.
pub(in crate::commands) struct Newest<'b> {
    local: Local<'b>,
    remote: Remote<'b>,
}

impl<'b> Newest<'b> {
    pub(super) fn new(local: Local<'b>, remote: Remote<'b>) -> Self {
        Newest { local, remote }
    }

    /// What kept the backend from telling all of its builds.
    pub(in crate::commands) fn failed(&self) -> Option<&BackendError> {
        self.remote.failed()
    }
}

impl Iterator for Newest<'_> {
    type Item = Summary;

    fn next(&mut self) -> Option<Summary> {
        loop {
            let local = self.local.peek().map(key);
            let remote = self.remote.peek().map(|listed| (listed.started_at, listed.id.as_str()));
            let is_local = match (local, remote) {
                (None, None) => return None,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(local), Some(remote)) => local >= remote,
            };
            if is_local {
                return self.local.next();
            }
            let found = self.remote.next().filter(|listed| !self.local.has(&listed.id));
            let found = found.map(Summary::listed).filter(|build| self.local.criteria.fits(build));
            if found.is_some() {
                return found;
            }
        }
    }
}

/// The workspace's builds that fit.
pub(in crate::commands) struct Local<'b> {
    store: &'b Store,
    criteria: Criteria,
    /// Not looked at yet; the newest last.
    places: Vec<BuildDir>,
    /// All that can be read.
    ids: HashSet<String>,
    ready: BinaryHeap<Ready>,
    numbers: HashMap<String, HashMap<String, u64>>,
}

impl<'b> Local<'b> {
    pub(super) fn new(store: &'b Store, mut places: Vec<BuildDir>, criteria: Criteria) -> Self {
        places.reverse();
        let ids = places.iter().map(|place| place.id.clone()).collect();
        Local { store, criteria, places, ids, ready: BinaryHeap::new(), numbers: HashMap::new() }
    }

    /// Leaves out builds that are known already.
    pub(super) fn without(mut self, known: &HashSet<String>) -> Self {
        self.places.retain(|place| !known.contains(&place.id));
        self
    }

    /// Whether the workspace has this build, as far as is known.
    fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The newest that is left. Journals are opened until no other can have started later.
    fn peek(&mut self) -> Option<&Summary> {
        while let Some(place) = self.places.last() {
            let began = place.began_at();
            let latest = began.map_or(UnixMs::MAX, |began| began + SLACK);
            if self.ready.peek().is_some_and(|ready| ready.0.started_at > latest) {
                break;
            }
            let may_fit = self.criteria.fits_time(began.unwrap_or_default(), latest);
            let Some(place) = self.places.pop() else { break };
            if may_fit && let Some(build) = self.glance(&place) {
                self.ready.push(Ready(build));
            }
        }
        self.ready.peek().map(|ready| &ready.0)
    }

    fn glance(&mut self, place: &BuildDir) -> Option<Summary> {
        match place.glance() {
            // What is no build hides none.
            Ok(build) if build.id.is_empty() => None,
            Ok(mut build) => {
                self.number(&mut build);
                Some(Summary::of(&build)).filter(|build| self.criteria.fits(build))
            }
            Err(error) => {
                self.ids.remove(&place.id);
                if !never_was(&error) {
                    warn(&format!("the journal of build {} cannot be read: {error}", place.id));
                }
                None
            }
        }
    }

    /// The number of a build that got it after its journal was closed.
    fn number(&mut self, build: &mut Build) {
        if build.number.is_none() {
            let component = build.component.as_str();
            if !self.numbers.contains_key(component) {
                self.numbers.insert(component.to_owned(), self.store.numbers_of(component));
            }
            build.number = self.numbers.get(component).and_then(|numbers| numbers.get(&build.id)).copied();
        }
    }
}

impl Iterator for Local<'_> {
    type Item = Summary;

    fn next(&mut self) -> Option<Summary> {
        self.peek()?;
        self.ready.pop().map(|ready| ready.0)
    }
}

/// The backend's builds that its filter lets through.
pub(in crate::commands) struct Remote<'b> {
    backend: Option<&'b mut (Host, HistoryPlugin)>,
    criteria: Criteria,
    page: usize,
    ready: VecDeque<Listed>,
    cursor: Cursor,
    /// It told some.
    told: bool,
    /// Whoever asks says himself what went wrong.
    silent: bool,
    failed: Option<BackendError>,
}

enum Cursor {
    Start,
    At(String),
    End,
}

impl<'b> Remote<'b> {
    /// `wanted` is how many are likely to be asked for.
    pub(super) fn new(
        backend: Option<&'b mut (Host, HistoryPlugin)>,
        criteria: Criteria,
        wanted: usize,
    ) -> Self {
        let page = if criteria.is_pushed_down() { wanted.clamp(1, LONGEST_PAGE) } else { FIRST_PAGE };
        Remote {
            backend,
            criteria,
            page,
            ready: VecDeque::new(),
            cursor: Cursor::Start,
            told: false,
            silent: false,
            failed: None,
        }
    }

    /// The same for whoever says himself what went wrong.
    pub(super) fn silent(self) -> Self {
        Remote { silent: true, ..self }
    }

    /// What kept the backend from telling all of its builds.
    pub(super) fn failed(&self) -> Option<&BackendError> {
        self.failed.as_ref()
    }

    fn peek(&mut self) -> Option<&Listed> {
        while self.ready.is_empty() {
            let cursor = match std::mem::replace(&mut self.cursor, Cursor::End) {
                Cursor::Start => None,
                Cursor::At(cursor) => Some(cursor),
                Cursor::End => break,
            };
            let Some((host, backend)) = &mut self.backend else { break };
            match host.block_on(backend.list(&self.criteria.filter(), self.page, cursor)) {
                Ok(page) => {
                    self.told = true;
                    self.ready = page.builds.into();
                    self.cursor = page.next.map_or(Cursor::End, Cursor::At);
                    // Whoever goes on does not stop soon.
                    self.page = LONGEST_PAGE;
                }
                Err(error) => {
                    if !self.silent {
                        warn_local(&error, self.told);
                    }
                    self.failed = Some(error);
                }
            }
        }
        self.ready.front()
    }
}

impl Iterator for Remote<'_> {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        self.peek()?;
        self.ready.pop_front()
    }
}

/// A build whose turn may have come: the newest is the greatest.
struct Ready(Summary);

fn key(build: &Summary) -> (UnixMs, &str) {
    (build.started_at, &build.id)
}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Ordering {
        key(&self.0).cmp(&key(&other.0))
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ready {}

/// A build whose runner ended before the journal's first bytes were written, or what is no build at all.
fn never_was(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::UnexpectedEof)
}
