//! The two files that a step's process is given to write to.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::warning;
use crate::{
    engine::message::{StepEnd, StepIndex},
    event::{Outcome, Problem, StepLog},
    output_file,
    owner::Owner,
    text,
};

/// How much a step may hand over in each of the files.
const LIMIT: usize = output_file::MAX_SIZE;

/// Where the steps of one build hand over what they have to say.
#[derive(Clone)]
pub struct Products {
    /// The build's own directory, held open: whatever a step puts in its place, nothing else is read.
    directory: Arc<OwnedFd>,
    path: PathBuf,
    /// Whom the files are given to.
    owner: Owner,
}

/// The files of one attempt.
pub struct Handover {
    products: Products,
    output: String,
    summary: String,
    began: Moment,
}

/// A file's time: seconds and nanoseconds.
pub(super) type Moment = (i64, u64);

impl Products {
    /// Uses `path`, which exists and is absolute, for the files. They are given to `owner`.
    pub fn at(path: &Path, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Products { directory: Arc::new(directory), path: path.to_owned(), owner })
    }

    /// Makes the files of an attempt, empty.
    pub fn begin(&self, step: StepIndex, attempt: u32) -> Result<Handover, Problem> {
        let name = |what: &str| format!("{what}-{step}-{attempt}");
        let (output, summary) = (name("output"), name("summary"));
        let made = self.make(&summary).and_then(|_| self.make(&output));
        // The time that a file gets is the clock that a report's time is compared with: the file system's own,
        // which may be some milliseconds, or on a server anything, behind ours.
        let began = made.map_err(|error| self.unwritable(&error.into()))?;
        Ok(Handover { products: self.clone(), output, summary, began })
    }

    fn make(&self, name: &str) -> Result<Moment, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = match rustix::fs::openat(&self.directory, name, flags, mode) {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?;
                rustix::fs::openat(&self.directory, name, flags, mode)?
            }
            opened => opened?,
        };
        self.owner.give_open(&file);
        let stat = rustix::fs::fstat(&file)?;
        Ok((stat.st_mtime, stat.st_mtime_nsec))
    }

    fn unwritable(&self, error: &io::Error) -> Problem {
        let place = self.path.display();
        if error.kind() == io::ErrorKind::NotFound {
            return Problem::new(
                format!("the build's directory {place} is gone, and the build's record with it"),
                "find the step that deletes it and let it leave .dcd alone, as with `git clean -e .dcd`",
            );
        }
        Problem::new(
            format!("the step's output file cannot be created in {place}: {error}"),
            "make the workspace writable for dcd, and free space on its disk",
        )
    }

    /// What is in the file, or why it is not to be read.
    fn read(&self, name: &str) -> Result<Vec<u8>, Unreadable> {
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unreadable::Replaced);
        }
        if stat.st_size == 0 {
            return Ok(Vec::new());
        }
        // It may have become something else meanwhile: a link, or a FIFO that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?);
        if !file.metadata().map_err(Unreadable::Io)?.is_file() {
            return Err(Unreadable::Replaced);
        }
        let mut bytes = Vec::new();
        file.take(LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(Unreadable::Io)?;
        Ok(bytes)
    }

    fn remove(&self, name: &str) {
        // What the step put there instead stays in the build's directory, where it harms nobody.
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }
}

enum Unreadable {
    Gone,
    Replaced,
    Io(io::Error),
}

impl From<Errno> for Unreadable {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Unreadable::Gone,
            Errno::LOOP => Unreadable::Replaced,
            other => Unreadable::Io(other.into()),
        }
    }
}

impl Handover {
    /// The variables that tell the process where the files are.
    pub fn env(&self) -> [(String, String); 2] {
        let path = |name: &str| self.products.path.join(name).display().to_string();
        [("DCD_OUTPUT".into(), path(&self.output)), ("DCD_SUMMARY".into(), path(&self.summary))]
    }

    /// When the attempt began, by the clock of the workspace's file system.
    pub(super) fn began(&self) -> Moment {
        self.began
    }

    /// Puts what the step wrote into its end. What is wrong with its outputs makes a success an error.
    pub fn take(&self, end: &mut StepEnd) -> Vec<StepLog> {
        let mut said = Vec::new();
        match self.outputs() {
            Ok(outputs) => {
                end.outputs = outputs.into_iter().map(|(name, value)| (name, value.into())).collect();
            }
            Err(problem) if end.outcome == Outcome::Success => {
                end.outcome = Outcome::Error;
                end.problem = Some(problem);
            }
            Err(Problem { message, .. }) => said.push(warning(message)),
        }
        match self.products.read(&self.summary) {
            Ok(bytes) => end.summary = summary(bytes, &mut said),
            Err(why) => said.push(warning(why.sentence("DCD_SUMMARY"))),
        }
        said
    }

    fn outputs(&self) -> Result<BTreeMap<String, String>, Problem> {
        let append = "write to the file that is there: echo \"name=value\" >>\"$DCD_OUTPUT\"";
        let bytes = self
            .products
            .read(&self.output)
            .map_err(|why| Problem::new(why.sentence("DCD_OUTPUT"), append))?;
        output_file::parse(&bytes).map_err(|error| {
            Problem::new(format!("what the step wrote to DCD_OUTPUT is wrong: {error}"), error.help)
        })
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.products.remove(&self.output);
        self.products.remove(&self.summary);
    }
}

impl Unreadable {
    fn sentence(&self, variable: &str) -> String {
        match self {
            Unreadable::Gone => format!("the step deleted the file of {variable}"),
            Unreadable::Replaced => {
                format!("the step put something else than a file in the place of {variable}")
            }
            Unreadable::Io(error) => format!("the file of {variable} cannot be read: {error}"),
        }
    }
}

fn summary(bytes: Vec<u8>, said: &mut Vec<StepLog>) -> Option<String> {
    if bytes.contains(&0) {
        said.push(warning("the step's summary is left out: it has a NUL byte, so it is no text"));
        return None;
    }
    let mut summary = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    if summary.len() > LIMIT {
        said.push(warning("the step's summary is cut: it is longer than 1 MiB"));
        summary.truncate(text::clip(&summary, LIMIT).len());
    }
    (!summary.is_empty()).then_some(summary)
}
