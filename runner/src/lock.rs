//! Locks between builds on one machine.
//!
//! ```text
//! DIRECTORY/NAME/queue     held while somebody looks at the tickets
//! DIRECTORY/NAME/N         the ticket of who came as the Nth: locked (`flock`) as long as its process lives
//! ```
//!
//! The lowest ticket that is alive holds the lock. A ticket dies with its process, however that ends, so that no
//! lock outlives who held it. The processes that it starts inherit the ticket: if it is killed, and they are not, what
//! they do is still the lock's business.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::FlockOperation,
    io::{Errno, FdFlags},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{event::UnixMs, owner::Owner, text::hex};

/// Who holds a lock, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// For people: the build, and where it runs.
    pub who: String,
    /// When it asked.
    pub since: UnixMs,
    /// The id of the build.
    #[serde(default)]
    pub build: String,
    /// The container that it runs in, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
}

/// A lock that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLock {
    /// Its name.
    pub name: String,
    /// In the order in which they asked. Who is first holds the lock.
    pub queue: Vec<LocalPlace>,
}

/// A place in the queue for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPlace {
    /// Whose it is.
    pub holder: Holder,
    /// The process that asked, by its number where it runs. 0 when it is not known.
    pub process: u32,
    /// Open in that process, and in all that it left behind: they hold the place.
    pub path: PathBuf,
}

/// What a ticket says.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    holder: Holder,
    #[serde(default)]
    lock: String,
    #[serde(default)]
    process: u32,
}

/// A place in the queue for a lock. Given back when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    directory: PathBuf,
    number: u64,
    path: PathBuf,
    locked: File,
}

impl Ticket {
    /// Queues up for the lock `name` of those in `directory`.
    pub fn draw(directory: &Path, name: &str, holder: &Holder, owner: Owner) -> io::Result<Self> {
        let directory = directory.join(encode(name));
        owner.make_dirs(&directory)?;
        let _queue = queue(&directory, owner)?;
        let number = tickets(&directory)?.last().map_or(1, |last| last + 1);
        let path = directory.join(number.to_string());
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let written = Written { holder: holder.clone(), lock: name.to_owned(), process: std::process::id() };
        file.write_all(serde_json::to_string(&written)?.as_bytes())?;
        owner.give(&path);
        rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
        Ok(Ticket { directory, number, path, locked: file })
    }

    /// Who holds the lock; `None` when this ticket does.
    pub fn ahead(&self, owner: Owner) -> io::Result<Option<Holder>> {
        let _queue = queue(&self.directory, owner)?;
        for number in tickets(&self.directory)? {
            if number >= self.number {
                break;
            }
            let path = self.directory.join(number.to_string());
            if let Some(written) = alive(&path)? {
                return Ok(Some(written.holder));
            }
            let _ = fs::remove_file(&path);
        }
        Ok(None)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // If it cannot be removed it is dead all the same. Unlocked, and not only closed: a process that a step left
        // behind has it open, too.
        let _ = fs::remove_file(&self.path);
        let _ = rustix::fs::flock(&self.locked, FlockOperation::Unlock);
    }
}

/// The locks in `directory` that somebody holds, by name.
pub fn held(directory: &Path, owner: Owner) -> io::Result<Vec<LocalLock>> {
    let mut locks = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(locks),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let directory = entry.path();
        let _queue = queue(&directory, owner)?;
        let mut lock = LocalLock { name: String::new(), queue: Vec::new() };
        for number in tickets(&directory)? {
            let path = directory.join(number.to_string());
            if let Some(Written { holder, lock: name, process }) = alive(&path)? {
                lock.name = name;
                lock.queue.push(LocalPlace { holder, process, path });
            }
        }
        if !lock.queue.is_empty() {
            locks.push(lock);
        }
    }
    locks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(locks)
}

fn queue(directory: &Path, owner: Owner) -> io::Result<File> {
    let path = directory.join("queue");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    owner.give(&path);
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// The numbers, rising.
fn tickets(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What the ticket says, unless its process is gone.
fn alive(path: &Path) -> io::Result<Option<Written>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let unknown = || Written {
                holder: Holder {
                    who: "another build".to_owned(),
                    since: 0,
                    build: String::new(),
                    container: None,
                },
                lock: String::new(),
                process: 0,
            };
            Ok(Some(serde_json::from_str(&text).unwrap_or_else(|_| unknown())))
        }
        Err(error) => Err(error.into()),
    }
}

/// A readable start, and a digest that keeps different names apart.
fn encode(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let start: String = name.chars().take(40).map(plain).collect();
    format!("{start}-{}", &hex(&Sha256::digest(name.as_bytes()))[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(who: &str) -> Holder {
        Holder { who: who.to_owned(), since: 7, build: String::new(), container: None }
    }

    #[test]
    fn the_first_holds_and_the_others_follow_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Owner::of(directory.path());
        let draw = |who: &str| Ticket::draw(directory.path(), "deploy/prod", &holder(who), owner).unwrap();
        let (first, second, third) = (draw("a"), draw("b"), draw("c"));
        assert_eq!(first.ahead(owner).unwrap(), None);
        assert_eq!(second.ahead(owner).unwrap(), Some(holder("a")));
        assert_eq!(third.ahead(owner).unwrap(), Some(holder("a")));
        drop(first);
        assert_eq!(third.ahead(owner).unwrap(), Some(holder("b")));
        assert_eq!(second.ahead(owner).unwrap(), None);
        drop(second);
        assert_eq!(third.ahead(owner).unwrap(), None);
    }

    #[test]
    fn a_ticket_dies_with_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Owner::of(directory.path());
        let dead = Ticket::draw(directory.path(), "x", &holder("dead"), owner).unwrap();
        let path = dead.path.clone();
        drop(dead);
        // As it is left by a process that was killed: the file without its lock.
        fs::write(&path, "{}").unwrap();
        let ticket = Ticket::draw(directory.path(), "x", &holder("b"), owner).unwrap();
        assert_eq!((ticket.number, ticket.ahead(owner).unwrap()), (2, None));
        assert!(!path.exists());
    }

    #[test]
    fn who_holds_and_who_waits_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Owner::of(directory.path());
        assert_eq!(held(&directory.path().join("none"), owner).unwrap(), []);
        let draw = |name: &str, who: &str| Ticket::draw(directory.path(), name, &holder(who), owner).unwrap();
        let (_first, dead, _second) = (draw("prod/b", "a"), draw("prod/b", "dead"), draw("prod/b", "b"));
        let path = dead.path.clone();
        drop(dead);
        fs::write(path, "{}").unwrap();
        let _other = draw("a", "c");
        drop(draw("free", "d"));
        let locks = held(directory.path(), owner).unwrap();
        let words: Vec<_> = locks
            .iter()
            .map(|lock| {
                assert!(lock.queue.iter().all(|place| place.process == std::process::id()));
                let who = lock.queue.iter().map(|place| place.holder.who.as_str());
                format!("{}: {}", lock.name, who.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(words, ["a: c", "prod/b: a b"]);
    }

    #[test]
    fn different_names_are_different_locks() {
        assert_ne!(encode("deploy/a"), encode("deploy.a"));
        let directory = tempfile::tempdir().unwrap();
        let owner = Owner::of(directory.path());
        let _one = Ticket::draw(directory.path(), "a", &holder("a"), owner).unwrap();
        let other = Ticket::draw(directory.path(), "b", &holder("b"), owner).unwrap();
        assert_eq!(other.ahead(owner).unwrap(), None);
    }
}
