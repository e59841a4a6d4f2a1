//! Hashing the files that a step made.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use super::{find::find, warning};
use crate::{
    engine::message::StepContent,
    event::{Artifact, StepArtifacts, StepLog},
    text,
};

/// How many artifacts an event has at most.
const PER_EVENT: usize = 1000;
/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// Says all files that the globs match, by path. Ends when `stop` is set, or `say` answers that nobody listens.
pub(super) fn say_all(
    workspace: &Path,
    globs: &[String],
    stop: &AtomicBool,
    say: &mut dyn FnMut(StepContent) -> bool,
) {
    let mut files = BTreeMap::new();
    for glob in globs {
        let warn = match find(workspace, glob, stop) {
            Ok(found) if found.is_empty() && !stop.load(Ordering::Relaxed) => {
                format!("outputs: `{glob}` matches no file")
            }
            Ok(found) => {
                files.extend(found.into_iter().map(|found| (found.path, found.file)));
                continue;
            }
            Err(why) => format!("outputs: `{glob}` {why}"),
        };
        if !say(StepContent::Log(warning(warn))) {
            return;
        }
    }
    let mut buffer = vec![0; if files.is_empty() { 0 } else { CHUNK }];
    let mut artifacts = Vec::new();
    for (path, file) in files {
        let go_on = match hash(&file, &mut buffer, stop) {
            Ok(Some((size, sha256))) => {
                artifacts.push(Artifact { path, size, sha256 });
                artifacts.len() < PER_EVENT || say(event(&mut artifacts))
            }
            Ok(None) => return,
            Err(error) => say(StepContent::Log(unreadable(&path, &error))),
        };
        if !go_on {
            return;
        }
    }
    if !artifacts.is_empty() {
        say(event(&mut artifacts));
    }
}

fn event(artifacts: &mut Vec<Artifact>) -> StepContent {
    StepContent::Artifacts(StepArtifacts { artifacts: std::mem::take(artifacts) })
}

fn unreadable(path: &str, error: &io::Error) -> StepLog {
    warning(format!("outputs: {path} is left out: {error}"))
}

/// Size and SHA-256; `None` when it was stopped.
fn hash(file: &Path, buffer: &mut [u8], stop: &AtomicBool) -> io::Result<Option<(u64, String)>> {
    let mut file = File::from(open(file)?);
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = match file.read(buffer) {
            Ok(0) => return Ok(Some((size, text::hex(&hasher.finalize())))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Opens a regular file. Whatever took its place meanwhile, a link or a FIFO, is neither followed nor waited for.
pub(super) fn open(file: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(file, flags, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if kind == rustix::fs::FileType::RegularFile {
        Ok(opened)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of these globs: events by what they hold.
    fn said(workspace: &Path, globs: &[&str]) -> Vec<String> {
        let globs: Vec<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
        let mut said = Vec::new();
        say_all(workspace, &globs, &AtomicBool::new(false), &mut |content| {
            said.push(match content {
                StepContent::Artifacts(StepArtifacts { artifacts }) => {
                    let words =
                        artifacts.iter().map(|of| format!("{} {} {}", of.path, of.size, &of.sha256[..8]));
                    words.collect::<Vec<_>>().join(", ")
                }
                StepContent::Log(log) => log.message,
                other => panic!("{other:?}"),
            });
            true
        });
        said
    }

    #[test]
    fn each_file_is_said_once_with_its_size_and_digest() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::write(workspace.path().join("b"), "hello\n").unwrap();
        std::fs::write(workspace.path().join("a"), "").unwrap();
        assert_eq!(
            said(workspace.path(), &["*", "b", "*.gz", "c/", "["]),
            [
                "outputs: `*.gz` matches no file",
                "outputs: `c/` matches no file",
                "outputs: `[` is no glob: unclosed character class; missing ']'",
                "a 0 e3b0c442, b 6 5891b5b5",
            ]
        );
    }

    #[test]
    fn many_files_come_in_several_events() {
        let workspace = tempfile::tempdir().unwrap();
        for number in 0..2001 {
            std::fs::write(workspace.path().join(format!("{number:04}")), "").unwrap();
        }
        let said = said(workspace.path(), &["*"]);
        let counts: Vec<_> = said.iter().map(|event| event.split(", ").count()).collect();
        assert_eq!(counts, [1000, 1000, 1]);
        assert!(said[1].starts_with("1000 "), "by path");
    }

    #[test]
    fn hashing_can_be_stopped() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::write(workspace.path().join("a"), "x").unwrap();
        let stopped = hash(&workspace.path().join("a"), &mut [0; 8], &AtomicBool::new(true));
        assert_eq!(stopped.unwrap(), None);
    }
}
