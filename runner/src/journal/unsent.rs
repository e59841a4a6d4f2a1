//! Which builds a history backend is to have and lacks: `.dcd/unsent/ID`, a file for each.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use rustix::{fs::FlockOperation, io::Errno};

use super::store::{Store, StoreError, io_error};

/// The right to send a build to the backend, which one process has at a time.
#[derive(Debug)]
pub struct Unsent {
    path: PathBuf,
    /// Locked as long as it is open.
    _file: File,
}

impl Unsent {
    /// Notes that the backend has the whole build.
    pub fn sent(self) {
        // A note that stays is looked at again, which changes nothing.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Notes that a history backend is to have the build. The right to send it is the caller's, unless another process
    /// was quicker.
    pub fn mark_unsent(&self, id: &str) -> Result<Option<Unsent>, StoreError> {
        let directory = self.unsent_directory();
        self.make_dir(&directory)?;
        let path = directory.join(id);
        File::create(&path).map_err(|error| io_error("create", &path, error))?;
        self.owner.give(&path);
        self.claim_unsent(id)
    }

    /// Whether a history backend is to have the build, and lacks it or a part of it.
    pub fn is_unsent(&self, id: &str) -> bool {
        self.unsent_directory().join(id).exists()
    }

    /// The ids of the builds that a history backend is to have and lacks, oldest first.
    pub fn unsent(&self) -> Vec<String> {
        // What cannot be read holds nothing to send.
        let entries = fs::read_dir(self.unsent_directory()).into_iter().flatten().flatten();
        let mut ids: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort_unstable();
        ids
    }

    /// The right to send what is missing of a build. `None`: another process has it, or has sent the build.
    pub fn claim_unsent(&self, id: &str) -> Result<Option<Unsent>, StoreError> {
        let path = self.unsent_directory().join(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path, error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Who had it may have removed it in between.
            Ok(()) => Ok(path.exists().then_some(Unsent { path, _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(io_error("lock", &path, error.into())),
        }
    }

    fn unsent_directory(&self) -> PathBuf {
        self.root.join("unsent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_sends_a_build_until_it_is_sent() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        assert!(store.unsent().is_empty());
        let own = store.mark_unsent("b").unwrap().expect("the first one has it");
        assert!(store.claim_unsent("b").unwrap().is_none(), "another one has it");
        drop(store.mark_unsent("a").unwrap());
        assert_eq!(store.unsent(), ["a", "b"]);
        own.sent();
        assert_eq!(store.unsent(), ["a"]);
        assert!(store.claim_unsent("b").unwrap().is_none(), "it is sent");
        assert!(store.claim_unsent("a").unwrap().is_some(), "its first sender is gone");
    }
}
