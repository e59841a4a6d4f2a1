//! Files that Git LFS put in place.
//!
//! The blob of such a file is a pointer, and `filter.lfs.clean`, which turns the file into one again,
//! is a program of the configuration, which we don't run. The pointer names the file's SHA-256: that
//! is enough to tell whether the file is the one that is meant.

use std::path::Path;

use super::changes::{Change, Changes, Work};
use super::digest::hash_file;

/// A pointer is at most this long (the specification says under 1024 bytes).
const LONGEST_POINTER: u64 = 1024;

/// `changes` without the files that are what their pointer names.
pub(super) fn without_smudged(repo: &gix::Repository, root: &Path, mut changes: Changes) -> Changes {
    changes.retain(|path, change| {
        let Change { staged, work: Some(Work::Present { tracked: Some(id), executable_bit_changed: false }) } = *change
        else {
            return true;
        };
        let smudged = gix::path::from_bstr(path).is_ok_and(|path| is_smudged(repo, id, &root.join(path)));
        if smudged {
            change.work = None;
        }
        !smudged || staged.is_some()
    });
    changes
}

fn is_smudged(repo: &gix::Repository, id: gix::ObjectId, file: &Path) -> bool {
    let is_small = repo.find_header(id).is_ok_and(|header| header.size() < LONGEST_POINTER);
    if !is_small {
        return false;
    }
    let Ok(blob) = repo.find_object(id) else { return false };
    let Some((sha256, size)) = pointer(&blob.data) else { return false };
    let is_file_of_size = file.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == size);
    is_file_of_size && hash_file(file).is_ok_and(|actual| actual == sha256)
}

/// The SHA-256 and the size that a pointer names.
fn pointer(data: &[u8]) -> Option<(&str, u64)> {
    let text = std::str::from_utf8(data).ok()?;
    text.strip_prefix("version https://git-lfs.github.com/spec/")?;
    let value = |key| text.lines().find_map(|line| line.strip_prefix(key));
    Some((value("oid sha256:")?, value("size ")?.parse().ok()?))
}
