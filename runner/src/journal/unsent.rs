//! Which builds a history backend is to have and lacks: `.dcd/unsent/ID`, a file for each.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{fs::FlockOperation, io::Errno};

use super::store::{Store, StoreError, io_error};

/// The right to send a build to the backend, which one process has at a time.
#[derive(Debug)]
pub struct Unsent {
    path: PathBuf,
    /// Locked as long as it is open.
    #[allow(dead_code, reason = "it is only held")]
    file: File,
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
        if path.exists() {
            return self.claim_unsent(id);
        }
        // It appears locked, so that nobody else has it before who made it.
        let hidden = directory.join(format!(".{id}-{}", std::process::id()));
        let file = File::create(&hidden).map_err(|error| io_error("create", &hidden, error))?;
        self.owner.give(&hidden);
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|error| io_error("lock", &hidden, error.into()))?;
        fs::rename(&hidden, &path).map_err(|error| io_error("create", &path, error))?;
        Ok(Some(Unsent { path, file }))
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
        ids.retain(|id| !id.starts_with('.'));
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
            // Who had it may have removed it in between, and somebody made it anew.
            Ok(()) => Ok(is_at(&file, &path).then_some(Unsent { path, file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(io_error("lock", &path, error.into())),
        }
    }

    fn unsent_directory(&self) -> PathBuf {
        self.root.join("unsent")
    }
}

/// Whether the path leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |known: io::Result<fs::Metadata>| known.map(|known| (known.dev(), known.ino())).ok();
    place(file.metadata()).is_some_and(|open| place(fs::metadata(path)) == Some(open))
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
        let files = fs::read_dir(store.unsent_directory()).unwrap();
        assert_eq!(files.count(), 1, "nothing but the notes is left there");
    }

    #[test]
    fn who_notes_a_build_is_the_first_to_have_it() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        std::thread::scope(|scope| {
            // Somebody who sends whatever there is to send.
            let other = scope.spawn(|| {
                let mut taken = Vec::new();
                while !taken.contains(&"z".to_owned()) {
                    for id in store.unsent() {
                        taken.extend(store.claim_unsent(&id).unwrap().map(|_| id));
                    }
                }
                taken
            });
            let own: Vec<_> = (0..200).map(|n| store.mark_unsent(&n.to_string()).unwrap()).collect();
            assert!(own.iter().all(Option::is_some));
            drop(store.mark_unsent("z").unwrap());
            assert_eq!(other.join().unwrap(), ["z"]);
        });
    }

    #[test]
    fn a_note_that_was_made_anew_is_not_the_old_one() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let own = store.mark_unsent("a").unwrap().unwrap();
        let path = own.path.clone();
        let opened_before = File::open(&path).unwrap();
        own.sent();
        let again = store.mark_unsent("a").unwrap().unwrap();
        assert!(!is_at(&opened_before, &path));
        assert!(is_at(&again.file, &path));
    }
}
