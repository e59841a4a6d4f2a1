//! The directory `.dcd` of a workspace: every build's journal, and the numbers given out.
//!
//! ```text
//! .dcd/.gitignore                    ignores all of it
//! .dcd/builds/ID/journal             the build's events
//! .dcd/numbers/COMPONENT/N           holds the id of build N; making it claims the number
//! .dcd/numbers/COMPONENT/next        a hint where to start looking
//! .dcd/unsent/ID                     the history backend lacks the build with that id, or a part of it
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};

use crate::{
    build::Build,
    journal::{Corruption, Writer, reader},
    owner::Owner,
};

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such build.
    #[error("there is no build `{0}` here")]
    NotFound(String),
    /// More than one build fits.
    #[error("`{asked}` fits more than one build: {}", found.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// What fits.
        found: Vec<String>,
    },
}

/// How a person names a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// A number, an id, a unique prefix of an id, or `latest`.
    pub build: String,
    /// Only builds of this component.
    pub component: Option<String>,
}

/// `.dcd` of a workspace.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) root: PathBuf,
    pub(super) owner: Owner,
}

/// A build's place in the store.
#[derive(Clone, Debug)]
pub struct BuildDir {
    /// The build's id.
    pub id: String,
    pub(super) path: PathBuf,
}

impl Store {
    /// The store of the workspace, which need not exist yet.
    pub fn at(workspace: &Path) -> Self {
        Store { root: workspace.join(".dcd"), owner: Owner::of(workspace) }
    }

    /// Makes the place and the journal of a new build.
    pub fn create_build(&self, id: &str) -> Result<(BuildDir, Writer), crate::journal::JournalError> {
        let path = self.root.join("builds").join(id);
        let journal = path.join("journal");
        let fail = |error: StoreError| match error {
            StoreError::Io { what, path, source } => crate::journal::JournalError { what, path, source },
            other => crate::journal::JournalError {
                what: "create",
                path: journal.clone(),
                source: io::Error::other(other.to_string()),
            },
        };
        self.make_root().map_err(fail)?;
        self.make_dir(&path).map_err(fail)?;
        let writer = Writer::create(&journal)?;
        self.owner.give(&journal);
        Ok((BuildDir { id: id.to_owned(), path }, writer))
    }

    /// Claims the component's next number for a build. Unique, and without gaps, whoever else asks at the
    /// same time: the number belongs to who makes its file.
    pub fn claim_number(&self, component: &str, id: &str) -> Result<u64, StoreError> {
        let directory = self.root.join("numbers").join(encode(component));
        self.make_dir(&directory)?;
        let hint = directory.join("next");
        // Several may have written the hint at once, and one after another claimed: it holds only when the number
        // before it is taken, for then all are.
        let hinted = fs::read_to_string(&hint).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let holds = |number: &u64| *number > 1 && directory.join((number - 1).to_string()).exists();
        let mut number = match hinted.filter(holds) {
            Some(number) => number,
            None => highest(&directory)? + 1,
        };
        loop {
            let path = directory.join(number.to_string());
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(format!("{id}\n").as_bytes())
                        .map_err(|error| io_error("write", &path, error))?;
                    self.owner.give(&path);
                    // Only a hint: a lost or old one costs a look at what is there.
                    let fresh = !hint.exists();
                    let _ = fs::write(&hint, (number + 1).to_string());
                    if fresh {
                        self.owner.give(&hint);
                    }
                    return Ok(number);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(io_error("create", &path, error)),
            }
        }
    }

    /// Tries what a build's journal needs: to make a file, lock it and sync it. Gives the time that it took.
    pub fn probe(&self) -> Result<Duration, StoreError> {
        let began = Instant::now();
        self.make_root()?;
        let path = self.root.join(format!("probe-{}", std::process::id()));
        let probed =
            File::create(&path).map_err(|error| io_error("create", &path, error)).and_then(|mut file| {
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
                    .map_err(|error| io_error("lock", &path, error.into()))?;
                file.write_all(b"probe\n").map_err(|error| io_error("write", &path, error))?;
                file.sync_all().map_err(|error| io_error("sync", &path, error))
            });
        let _ = fs::remove_file(&path);
        probed.map(|()| began.elapsed())
    }

    /// Every build, newest first.
    pub fn builds(&self) -> Result<Vec<BuildDir>, StoreError> {
        let directory = self.root.join("builds");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", &directory, error)),
        };
        let mut builds = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_error("read", &directory, error))?;
            let id = entry.file_name().to_string_lossy().into_owned();
            builds.push(BuildDir { id, path: entry.path() });
        }
        // Ids are UUIDs of version 7: they begin with the time.
        builds.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        Ok(builds)
    }

    /// The build that a person means.
    pub fn find(&self, lookup: &Lookup) -> Result<BuildDir, StoreError> {
        let builds = self.builds()?;
        let fits = |build: &BuildDir| match &lookup.component {
            Some(component) => build.glance().is_ok_and(|build| build.component == *component),
            None => true,
        };
        let not_found = || StoreError::NotFound(lookup.build.clone());
        if lookup.build == "latest" {
            let newest = builds.into_iter().find(|build| build.has_started() && fits(build));
            return newest.ok_or_else(not_found);
        }
        let numbered = self.numbered(lookup)?;
        let mut found: Vec<BuildDir> = if numbered.is_empty() {
            let starts = |build: &BuildDir| build.id.starts_with(&lookup.build) && !lookup.build.is_empty();
            builds.into_iter().filter(|build| starts(build) && fits(build)).collect()
        } else {
            builds.into_iter().filter(|build| numbered.contains(&build.id)).collect()
        };
        match found.len() {
            0 => Err(not_found()),
            1 => Ok(found.remove(0)),
            _ => Err(StoreError::Ambiguous {
                asked: lookup.build.clone(),
                found: found.iter().take(8).map(BuildDir::label).collect(),
            }),
        }
    }

    /// Whether a build can be named by its number alone: another component's may have the same.
    pub fn is_unique(&self, number: u64) -> bool {
        let lookup = Lookup { build: number.to_string(), component: None };
        self.numbered(&lookup).is_ok_and(|ids| ids.len() == 1)
    }

    /// Ids of the builds with this number: of every component that has it, and where numbers were given here
    /// before a history backend gave them, of both.
    fn numbered(&self, lookup: &Lookup) -> Result<Vec<String>, StoreError> {
        let Ok(number) = lookup.build.parse::<u64>() else { return Ok(Vec::new()) };
        let numbers = self.root.join("numbers");
        let components = match &lookup.component {
            Some(component) => vec![numbers.join(encode(component))],
            None => match fs::read_dir(&numbers) {
                Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(io_error("read", &numbers, error)),
            },
        };
        let read = |directory: PathBuf| fs::read_to_string(directory.join(number.to_string())).ok();
        let ids = components.into_iter().filter_map(read).collect::<Vec<_>>().join("\n");
        Ok(ids.lines().map(str::to_owned).collect())
    }

    /// The numbers that were noted for a build: here, and by a history backend.
    pub fn numbers_noted(&self, component: &str, id: &str) -> Vec<u64> {
        let entries = fs::read_dir(self.root.join("numbers").join(encode(component)));
        let noted = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let ids = fs::read_to_string(entry.path()).ok()?;
            ids.lines().any(|line| line == id).then_some(number)
        };
        entries.into_iter().flatten().flatten().filter_map(noted).collect()
    }

    /// Notes which build has a number that a history backend gave, unless that is noted.
    pub fn note_number(&self, component: &str, number: u64, id: &str) -> Result<(), StoreError> {
        let directory = self.root.join("numbers").join(encode(component));
        self.make_dir(&directory)?;
        let path = directory.join(number.to_string());
        if fs::read_to_string(&path).is_ok_and(|ids| ids.lines().any(|line| line == id)) {
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| io_error("open", &path, error))?;
        file.write_all(format!("{id}\n").as_bytes()).map_err(|error| io_error("write", &path, error))?;
        self.owner.give(&path);
        Ok(())
    }

    /// The place of a build that is known by its whole id.
    pub fn place(&self, id: &str) -> BuildDir {
        BuildDir { id: id.to_owned(), path: self.root.join("builds").join(id) }
    }

    /// The directory itself, which git is to leave alone.
    pub(super) fn make_root(&self) -> Result<(), StoreError> {
        self.make_dir(&self.root)?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            let _ = fs::write(&ignore, "*\n");
            self.owner.give(&ignore);
        }
        Ok(())
    }

    pub(super) fn make_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.owner.make_dirs(path).map_err(|error| io_error("create", path, error))
    }
}

impl BuildDir {
    /// The directory, for what else belongs to the build.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// What the build's events add up to. A build without an end whose writer is gone is lost.
    pub fn read(&self) -> io::Result<Build> {
        self.examine().map(|(build, _)| build)
    }

    /// [`BuildDir::read`], and what is damaged. In the journal of a running build nothing is: its last record
    /// may be just being written.
    pub fn examine(&self) -> io::Result<(Build, Option<Corruption>)> {
        let journal = self.journal();
        // Asked first: a build that ends in between has its end in what is read.
        let running = is_locked(&journal)?;
        let (mut build, damage) = reader::read_build(&journal)?;
        if build.outcome.is_none() && !running {
            build.mark_lost();
        }
        build.pruned |= self.is_pruned();
        Ok((build, damage.filter(|_| !running)))
    }

    /// Whether some process writes the journal.
    pub fn is_running(&self) -> bool {
        is_locked(&self.journal()).unwrap_or(false)
    }

    /// Whether there is anything to show.
    fn has_started(&self) -> bool {
        self.glance().is_ok_and(|build| !build.id.is_empty())
    }

    fn label(&self) -> String {
        match self.glance() {
            Ok(Build { number: Some(number), component, .. }) => {
                format!("{component} #{number} ({})", self.id)
            }
            _ => self.id.clone(),
        }
    }
}

/// The highest number that was claimed.
fn highest(directory: &Path) -> Result<u64, StoreError> {
    let entries = fs::read_dir(directory).map_err(|error| io_error("read", directory, error))?;
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(number).max().unwrap_or(0))
}

/// Whether some process writes the journal: its lock ends with the process, however that ended.
pub(super) fn is_locked(journal: &Path) -> io::Result<bool> {
    let file = File::open(journal)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn io_error(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { what, path: path.to_owned(), source }
}

/// A component's name as one path segment: what is not a letter, digit, `_` or `-`, or a dot that starts the
/// name, becomes `%XX`.
pub(super) fn encode(component: &str) -> String {
    let mut name = String::new();
    for (index, byte) in component.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && index > 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, BuildFinished, BuildNumbered, BuildStarted, Outcome};

    fn begin(store: &Store, id: &str) -> (BuildDir, Writer, u64) {
        let (dir, mut writer) = store.create_build(id).unwrap();
        let number = store.claim_number("a/b", id).unwrap();
        let started = BuildStarted { id: id.into(), component: "a/b".into(), ..BuildStarted::default() };
        writer.append(None, Body::BuildStarted(started)).unwrap();
        writer.append(None, Body::BuildNumbered(BuildNumbered { number, by: "journal".into() })).unwrap();
        (dir, writer, number)
    }

    #[test]
    fn numbers_are_unique_and_without_gaps_under_concurrency() {
        let workspace = tempfile::tempdir().unwrap();
        let claim = |thread: usize| {
            let store = Store::at(workspace.path());
            fs::create_dir_all(workspace.path().join(".dcd")).unwrap();
            (0..25).map(|n| store.claim_number("shop", &format!("{thread}-{n}")).unwrap()).collect::<Vec<_>>()
        };
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || claim(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (1..=200).collect::<Vec<_>>());
    }

    #[test]
    fn a_lost_hint_costs_no_number() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (_, _writer, first) = begin(&store, "0a");
        fs::write(workspace.path().join(".dcd/numbers/a%2Fb/next"), "nonsense").unwrap();
        assert_eq!((first, store.claim_number("a/b", "0b").unwrap()), (1, 2));
    }

    #[test]
    fn a_build_runs_while_its_writer_lives_and_is_lost_without_an_end() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (dir, writer, _) = begin(&store, "0a");
        assert_eq!(dir.read().unwrap().outcome, None);
        drop(writer);
        let lost = dir.read().unwrap();
        assert_eq!((lost.outcome, lost.reason.as_deref()), (Some(Outcome::Error), Some("runner lost")));

        let (dir, mut writer, _) = begin(&store, "0b");
        let end = BuildFinished { outcome: Outcome::Success, duration_ms: 1, reason: None, signal: None };
        writer.append(None, Body::BuildFinished(end)).unwrap();
        writer.finish().unwrap();
        assert_eq!(dir.read().unwrap().outcome, Some(Outcome::Success));
    }

    #[test]
    fn a_build_is_found_by_number_prefix_and_latest() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let _first = begin(&store, "0aa");
        let _second = begin(&store, "0ab");
        let find = |build: &str| {
            let lookup = Lookup { build: build.into(), component: None };
            store.find(&lookup).map(|dir| dir.id).map_err(|error| error.to_string())
        };
        assert_eq!(find("1").unwrap(), "0aa");
        assert_eq!(find("0ab").unwrap(), "0ab");
        assert_eq!(find("latest").unwrap(), "0ab");
        assert_eq!(find("9").unwrap_err(), "there is no build `9` here");
        assert_eq!(find("0a").unwrap_err(), "`0a` fits more than one build: a/b #2 (0ab), a/b #1 (0aa)");
    }

    #[test]
    fn a_torn_tail_hides_nothing_before_it() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (dir, writer, _) = begin(&store, "0a");
        drop(writer);
        let whole = fs::read(dir.journal()).unwrap();
        let first_end = 16 + 8 + u32::from_le_bytes(whole[16..20].try_into().unwrap()) as usize;
        for cut in 16..whole.len() {
            fs::write(dir.journal(), &whole[..cut]).unwrap();
            let mut reader = reader::Reader::open(&dir.journal()).unwrap();
            let mut records = 0;
            while reader.next_record().unwrap().is_some() {
                records += 1;
            }
            assert_eq!(records, usize::from(cut >= first_end), "cut at {cut}");
            assert_eq!(reader.torn().is_some(), cut != 16 && cut != first_end, "cut at {cut}");
        }
    }
}
