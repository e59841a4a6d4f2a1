//! Locks, each with a queue.
//!
//! Every state of a queue is a file, `.locks/<name>/<version>.json`. Who changes it links the next version, which
//! succeeds for one writer only; the others read again and try the one after that. So any number of writers may do so,
//! and one that dies half-way leaves nothing that others would have to wait for.
//!
//! Versions that are [old](OLD) are removed, but never the highest. A writer that slept for longer may find its next
//! version free because it was removed; therefore what was linked only counts when it is the highest then.

use std::fs;
use std::path::{Path, PathBuf};

use dcd_plugin_sdk::history::{Lock, LockQueue};
use dcd_plugin_sdk::{Error, Help as _, serde_json};

use crate::layout::{decode, encode};
use crate::{clock, files};

/// In milliseconds: longer than anybody takes to list a directory.
const OLD: u64 = 60_000;
/// How many versions are made until old ones are looked for.
const SWEEP: u64 = 32;

/// A lock's directory, which may not be there yet.
struct LockDir<'a> {
    root: &'a Path,
    name: &'a str,
    path: PathBuf,
}

pub(crate) fn acquire(
    root: &Path,
    name: &str,
    ticket: &str,
    owner: &str,
    ttl_ms: u32,
) -> Result<Lock, Error> {
    let acquire = |queue: &mut LockQueue, now| {
        queue.acquire(ticket, owner, ttl_ms, now);
        true
    };
    LockDir::new(root, name).change(acquire)
}

pub(crate) fn renew(root: &Path, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
    let mut is_there = false;
    let renew = |queue: &mut LockQueue, now| {
        is_there = queue.renew(ticket, ttl_ms, now);
        is_there
    };
    let lock = LockDir::new(root, name).change(renew)?;
    Ok(is_there.then_some(lock))
}

pub(crate) fn release(root: &Path, name: &str, ticket: &str) -> Result<bool, Error> {
    let mut was_there = false;
    let release = |queue: &mut LockQueue, now| {
        let is_there = queue.release(ticket, now);
        // When it was released, but by a version that another followed at once, it is not there any more.
        was_there |= is_there;
        is_there
    };
    LockDir::new(root, name).change(release)?;
    Ok(was_there)
}

pub(crate) fn list(root: &Path) -> Result<Vec<Lock>, Error> {
    let mut names: Vec<_> = files::names(&directory(root))?.iter().filter_map(|name| decode(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    names.sort_unstable();
    let now = clock::now(root)?;
    let lock = |name: &String| Ok(LockDir::new(root, name).newest()?.1.lock(name, now));
    let locks: Result<Vec<_>, Error> = names.iter().map(lock).collect();
    Ok(locks?.into_iter().filter(|lock| !lock.queue.is_empty()).collect())
}

/// No component is called so.
fn directory(root: &Path) -> PathBuf {
    root.join(".locks")
}

impl<'a> LockDir<'a> {
    fn new(root: &'a Path, name: &'a str) -> Self {
        Self { root, name, path: directory(root).join(encode(name)) }
    }

    /// Changes the queue, unless the answer of `change` is false: then it stays as it is. The answer is the lock after
    /// that.
    fn change(&self, mut change: impl FnMut(&mut LockQueue, u64) -> bool) -> Result<Lock, Error> {
        fs::create_dir_all(&self.path).context(format!("cannot create {}", self.path.display()))?;
        loop {
            let (version, mut queue) = self.newest()?;
            let now = clock::now(self.root)?;
            if !change(&mut queue, now) || self.put(version + 1, &queue)? {
                return Ok(queue.lock(self.name, now));
            }
        }
    }

    fn versions(&self) -> Result<Vec<u64>, Error> {
        let number = |name: &String| name.strip_suffix(".json")?.parse().ok();
        Ok(files::names(&self.path)?.iter().filter_map(number).collect())
    }

    fn file(&self, version: u64) -> PathBuf {
        self.path.join(format!("{version}.json"))
    }

    /// The highest version, and the queue as it is then.
    fn newest(&self) -> Result<(u64, LockQueue), Error> {
        loop {
            let Some(version) = self.versions()?.into_iter().max() else {
                return Ok((0, LockQueue::default()));
            };
            let file = self.file(version);
            // When it is gone, it is not the highest any more.
            if let Some(text) = files::read(&file)? {
                let queue = serde_json::from_str(&text).context(format!("{} is damaged", file.display()))?;
                return Ok((version, queue));
            }
        }
    }

    /// Whether this is now the newest version.
    fn put(&self, version: u64, queue: &LockQueue) -> Result<bool, Error> {
        let hidden = files::write_hidden(&files::passing(self.root)?, &serde_json::to_vec(queue)?)?;
        let linked = files::link(&hidden, &self.file(version));
        _ = fs::remove_file(&hidden);
        if !linked? {
            return Ok(false);
        }
        files::sync_dir(&self.path);
        let versions = self.versions()?;
        if version.is_multiple_of(SWEEP) {
            self.sweep(versions.iter().copied().filter(|other| *other < version))?;
        }
        Ok(versions.into_iter().max() == Some(version))
    }

    fn sweep(&self, versions: impl Iterator<Item = u64>) -> Result<(), Error> {
        let now = clock::now(self.root)?;
        for file in versions.map(|version| self.file(version)) {
            let is_old = |time| clock::since_epoch(time).saturating_add(OLD) < now;
            // Another writer may sweep, too.
            if clock::modified(&file).is_ok_and(is_old) {
                _ = fs::remove_file(file);
            }
        }
        Ok(())
    }
}
