//! The digest of what differs. `docs/facts.md` says how to compute it with other tools.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gix::bstr::{BStr, ByteSlice};
use sha2::{Digest, Sha256};

use super::chain;
use super::changes::{Change, Changes, Staged, Work};
use crate::facts::Fact;

/// The first line of what is hashed, so that another format can never give the same digest.
const HEADER: &str = "dcd-diff 1\n";

/// More than this is not read: at a gigabyte the build would wait seconds for its digest.
const MOST_BYTES: u64 = 1 << 30;

/// SHA-256 over all of `changes`, in lower-case hex.
pub(super) fn digest(repo: &gix::Repository, root: &Path, changes: &Changes) -> Fact<String> {
    let mut hasher = Sha256::new();
    hasher.update(HEADER);
    let mut left = MOST_BYTES;
    for (path, change) in changes {
        if let Err(reason) = add(repo, root, path.as_bstr(), change, &mut left, &mut hasher) {
            return Fact::Absent(reason);
        }
    }
    Fact::Known(hex(&hasher.finalize()))
}

fn add(
    repo: &gix::Repository,
    root: &Path,
    path: &BStr,
    change: &Change,
    left: &mut u64,
    hasher: &mut Sha256,
) -> Result<(), String> {
    let file = root.join(
        gix::path::from_bstr(path).map_err(|error| format!("{path} is no path here: {}.", chain(&error)))?,
    );
    let (mode, content) = match (change.work, change.staged) {
        (Some(Work::Deleted), _) | (None, Some(Staged::Deleted)) => deleted(),
        (Some(Work::Submodule(commit)), _) => ("160000", commit.to_string()),
        (Some(Work::Repository), _) => ("040000", "repository".to_owned()),
        // Sparse: what is staged is not in the work tree, and need not be.
        (None, Some(Staged::Entry { mode, id, in_work_tree: false })) => blob(repo, mode, id)?,
        (None, Some(Staged::Entry { mode, id, .. })) if mode.is_submodule() => ("160000", id.to_string()),
        (Some(Work::Present { .. }) | None, _) => on_disk(&file, left)
            .map_err(|error| format!("{} could not be read: {error}.", file.display()))?
            .ok_or_else(|| {
                format!(
                    "The files that differ hold more than {} MiB: too much to read before a build.",
                    MOST_BYTES >> 20
                )
            })?,
    };
    record(hasher, "work", mode, &content, path);
    // What is staged counts on its own only where the work tree has moved on since.
    if change.work.is_some() {
        let (mode, content) = match change.staged {
            None => return Ok(()),
            Some(Staged::Deleted) => deleted(),
            Some(Staged::Conflict) => ("000000", "conflict".to_owned()),
            Some(Staged::Entry { mode, id, .. }) => blob(repo, mode, id)?,
        };
        record(hasher, "index", mode, &content, path);
    }
    Ok(())
}

fn record(hasher: &mut Sha256, place: &str, mode: &str, content: &str, path: &BStr) {
    hasher.update(format!("{place} {mode} {content} "));
    hasher.update(path.as_bytes());
    hasher.update([0]);
}

fn deleted() -> (&'static str, String) {
    ("000000", "deleted".to_owned())
}

fn blob(
    repo: &gix::Repository,
    mode: gix::index::entry::Mode,
    id: gix::ObjectId,
) -> Result<(&'static str, String), String> {
    use gix::index::entry::Mode;
    let name = match mode {
        Mode::FILE_EXECUTABLE => "100755",
        Mode::SYMLINK => "120000",
        Mode::COMMIT => return Ok(("160000", id.to_string())),
        _ => "100644",
    };
    let blob = repo
        .find_object(id)
        .map_err(|error| format!("The staged object {id} could not be read: {}.", chain(&error)))?;
    Ok((name, hex(&Sha256::digest(&blob.data))))
}

/// `None` when it holds more than `left`.
fn on_disk(path: &Path, left: &mut u64) -> io::Result<Option<(&'static str, String)>> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Some(deleted()));
        }
        Err(error) => return Err(error),
    };
    if meta.is_symlink() {
        let target: PathBuf = path.read_link()?;
        return Ok(Some(("120000", hex(&Sha256::digest(target.as_os_str().as_bytes())))));
    }
    if !meta.is_file() {
        // A directory, whose files have records of their own, or a pipe, which must not be opened.
        return Ok(Some(deleted()));
    }
    let Some(rest) = left.checked_sub(meta.len()) else { return Ok(None) };
    *left = rest;
    let mode = if meta.mode() & 0o100 == 0 { "100644" } else { "100755" };
    Ok(Some((mode, hash_file(path)?)))
}

/// SHA-256 of a file, in lower-case hex. Of one that grows meanwhile, as a log does, what it has now: it may have no end.
pub(super) fn hash_file(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = file.take(length);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
