//! Where builds are kept: in files of a directory. Any number of writers may share it, in any processes.
//!
//! A document is a directory, and each state of it is a file there, `<version>.json`. Who changes it gives its new state
//! the next version's name, which only one writer can; the others read again. So nobody holds a lock, and one that
//! dies half-way is in nobody's way.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dcd_plugin_sdk::history::Event;
use dcd_plugin_sdk::{Error, Help as _, serde_json};
use serde::{Serialize, de::DeserializeOwned};

/// Versions that are older than this are removed, in milliseconds: longer than anybody takes to read a directory.
const OLD: u64 = 60_000;
/// How many versions are made until old ones are looked for.
const SWEEP: u64 = 32;
/// How long a writer tries to be the next one.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            directory: path.into(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let help = format!(
            "grant it: \"allow\": {{\"fs\": [{{\"path\": \"{}\", \"access\": \"rw\"}}]}}",
            self.directory.display()
        );
        fs::read_dir(&self.directory)
            .context(format!("cannot read {}", self.directory.display()))
            .help(help)?;
        Ok(())
    }

    /// The names of all documents.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let names =
            list(&self.directory).context(format!("cannot read {}", self.directory.display()))?;
        Ok(names
            .iter()
            .filter(|name| !name.starts_with('.'))
            .map(|name| name.replace('+', "/"))
            .collect())
    }

    pub(crate) fn read<T: Default + DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        Ok(self.newest(name)?.1)
    }

    /// Changes a document. `change` gets the time, too, and is called again when another writer was quicker; a document
    /// that it leaves as it was is not written.
    pub(crate) fn change<T, R>(
        &self,
        name: &str,
        mut change: impl FnMut(&mut T, u64) -> R,
    ) -> Result<R, Error>
    where
        T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    {
        let directory = self.document(name);
        fs::create_dir_all(&directory).context(format!("cannot create {}", directory.display()))?;
        let (start, mut tries) = (Instant::now(), 0_u32);
        loop {
            let now = self.now()?;
            let (version, before): (u64, T) = self.newest(name)?;
            let mut document = before.clone();
            let result = change(&mut document, now);
            if document == before || self.put(&directory, version + 1, &document)? {
                return Ok(result);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::unavailable(format!(
                    "others change {name} all the time"
                )));
            }
            // The more there are that want to, the longer each waits: else most of what they write is for nothing.
            tries += 1;
            thread::sleep(Duration::from_millis(random() % (10 << tries.min(8))));
        }
    }

    /// The highest version of a document, and how it is then.
    fn newest<T: Default + DeserializeOwned>(&self, name: &str) -> Result<(u64, T), Error> {
        let directory = self.document(name);
        loop {
            let newest = versions(&directory)?.into_iter().max();
            let Some(version) = newest else {
                return Ok((0, T::default()));
            };
            let file = file(&directory, version);
            match fs::read(&file) {
                Ok(bytes) => {
                    let document = serde_json::from_slice(&bytes)
                        .context(format!("{} is damaged", file.display()))?;
                    return Ok((version, document));
                }
                // It is not the highest any more.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).context(format!("cannot read {}", file.display()));
                }
            }
        }
    }

    /// Writes events to a file of their own, one a line. The answer is its name.
    pub(crate) fn write_events(&self, name: &str, events: &[Event]) -> Result<String, Error> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        let file = format!("{:016x}.events", random());
        let path = self.document(name).join(&file);
        write(&path, &lines).context(format!("cannot write {}", path.display()))?;
        Ok(file)
    }

    /// The lines of such a file.
    pub(crate) fn read_events(&self, name: &str, file: &str) -> Result<Vec<String>, Error> {
        let path = self.document(name).join(file);
        let text = fs::read_to_string(&path).context(format!("cannot read {}", path.display()))?;
        Ok(text.split_terminator('\n').map(str::to_owned).collect())
    }

    pub(crate) fn remove_events(&self, name: &str, file: &str) {
        _ = fs::remove_file(self.document(name).join(file));
    }

    /// Milliseconds since the Unix epoch, by the clock of the file system: the clocks of two machines that share it may be
    /// far apart.
    pub(crate) fn now(&self) -> Result<u64, Error> {
        let probe = passing(&self.directory)?;
        let shown = fs::create_dir(&probe).and_then(|()| modified(&probe));
        _ = fs::remove_dir(&probe);
        shown.context(format!("cannot write to {}", self.directory.display()))
    }

    /// Whether this is now the newest version.
    fn put(
        &self,
        directory: &Path,
        version: u64,
        document: &impl Serialize,
    ) -> Result<bool, Error> {
        let path = file(directory, version);
        if path.exists() {
            return Ok(false);
        }
        let hidden = passing(&self.directory)?;
        let what = || format!("cannot write {}", hidden.display());
        write(&hidden, &serde_json::to_vec(document)?).context(what())?;
        let linked = fs::hard_link(&hidden, path);
        let written = modified(&hidden).context(what())?;
        fs::remove_file(&hidden).context(what())?;
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error).context("cannot make a hard link"),
        }
        // Who slept for long may have found the name free because it was removed.
        let versions = versions(directory)?;
        if version.is_multiple_of(SWEEP) {
            for old in versions.iter().filter(|other| **other < version) {
                let old = file(directory, *old);
                if modified(&old).is_ok_and(|time| time + OLD < written) {
                    _ = fs::remove_file(old);
                }
            }
        }
        Ok(versions.into_iter().max() == Some(version))
    }

    /// A component's name has letters, digits and `._-/`.
    fn document(&self, name: &str) -> PathBuf {
        self.directory.join(name.replace('/', "+"))
    }
}

/// A free path in a directory that nobody lists: what comes and goes in others disturbs those who do.
fn passing(directory: &Path) -> Result<PathBuf, Error> {
    let directory = directory.join(".tmp");
    fs::create_dir_all(&directory).context(format!("cannot create {}", directory.display()))?;
    Ok(directory.join(format!("{:016x}", random())))
}

fn file(directory: &Path, version: u64) -> PathBuf {
    directory.join(format!("{version}.json"))
}

fn versions(directory: &Path) -> Result<Vec<u64>, Error> {
    let names = list(directory).context(format!("cannot read {}", directory.display()))?;
    let version = |name: &String| name.strip_suffix(".json")?.parse().ok();
    Ok(names.iter().filter_map(version).collect())
}

/// The names in a directory; none when there is none.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let names = || -> io::Result<Vec<String>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    loop {
        match names() {
            // So it is said, too, when a file goes while it is listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !directory.exists() {
                    return Ok(Vec::new());
                }
            }
            names => return names,
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn modified(path: &Path) -> io::Result<u64> {
    let time = fs::metadata(path)?.modified()?;
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// Different each time, in every process.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
