//! The two files that a step's process is given to write to.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW},
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
/// The names of the files.
const OUTPUT: &str = "output";
const SUMMARY: &str = "summary";
const FILES: [&str; 2] = [OUTPUT, SUMMARY];

/// Where the steps of one build hand over what they have to say.
#[derive(Clone)]
pub struct Products {
    place: Arc<Place>,
    path: PathBuf,
    /// Whom the files are given to.
    owner: Owner,
}

/// The build's own directory.
struct Place {
    /// Held open: whatever a step puts in its place, nothing else is read.
    directory: OwnedFd,
    /// Folders that no step is known to have touched. They get a new name for the next attempt: making and deleting
    /// thousands of files a second costs file systems more than all else that an attempt costs us.
    spare: Mutex<Vec<Folder>>,
}

/// A directory with the files of one attempt.
struct Folder {
    name: String,
    /// Held open, as above.
    directory: OwnedFd,
    /// It as it was made, with nothing but its files.
    made: Made,
    /// When something in it was last made, deleted or renamed.
    changed: Moment,
    /// Those of [`FILES`], as they were made.
    files: [Made; 2],
}

/// A file or directory as it was made.
#[derive(PartialEq, Eq)]
struct Made {
    inode: u64,
    mode: u32,
    owner: u32,
}

/// The files of one attempt.
pub struct Handover {
    products: Products,
    /// Until it is dropped.
    folder: Option<Folder>,
    /// Nothing is known that keeps the folder from being used again.
    is_spare: bool,
    began: Moment,
}

/// A file's time: seconds and nanoseconds.
pub(super) type Moment = (i64, u64);

impl Products {
    /// Uses `path`, which exists and is absolute, for the files. They are given to `owner`.
    pub fn at(path: &Path, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let place = Place { directory, spare: Mutex::default() };
        Ok(Products { place: Arc::new(place), path: path.to_owned(), owner })
    }

    /// Makes the files of an attempt, empty. Only one that `is_timed` knows when it [began](Handover::began).
    pub fn begin(&self, step: StepIndex, attempt: u32, is_timed: bool) -> Result<Handover, Problem> {
        let begin = || {
            let name = format!("attempt-{step}-{attempt}");
            let spare = self.place.spare().pop();
            let folder = match spare.and_then(|spare| self.place.rename(spare, &name)) {
                Some(folder) => folder,
                None => self.create(name)?,
            };
            let began = if is_timed { self.touch(&folder)? } else { Moment::default() };
            Ok(Handover { products: self.clone(), folder: Some(folder), is_spare: true, began })
        };
        begin().map_err(|error: Errno| self.unwritable(&error.into()))
    }

    /// Gives an attempt's file the time of now, and says which that is. A report's time is compared with it, and comes from
    /// the same clock: the file system's own, which may be some milliseconds, or on a server anything, behind ours.
    fn touch(&self, folder: &Folder) -> Result<Moment, Errno> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        let touched = rustix::fs::utimensat(&folder.directory, OUTPUT, &times, AtFlags::SYMLINK_NOFOLLOW);
        // Another's file, which it is by now, may not be changed; a new one has the time of now.
        let stat = match touched.and_then(|()| folder.stat(OUTPUT)) {
            Ok(stat) => stat,
            Err(_) => self.file(&folder.directory, OUTPUT)?,
        };
        Ok(changed(&stat))
    }

    fn create(&self, name: String) -> Result<Folder, Errno> {
        let make = || rustix::fs::mkdirat(&self.place.directory, &name, Mode::from_raw_mode(0o777));
        match make() {
            Err(Errno::EXIST) => {
                match self.place.open(&name) {
                    Ok(directory) => self.place.remove(&name, &directory),
                    Err(_) => rustix::fs::unlinkat(&self.place.directory, &name, AtFlags::empty())?,
                }
                make()?;
            }
            made => made?,
        }
        let directory = self.place.open(&name)?;
        self.owner.give_open(&directory);
        let make = |file| self.file(&directory, file).map(|stat| Made::of(&stat));
        let fill = || Ok(([make(OUTPUT)?, make(SUMMARY)?], rustix::fs::fstat(&directory)?));
        match fill() {
            Ok((files, stat)) => {
                Ok(Folder { name, made: Made::of(&stat), changed: changed(&stat), directory, files })
            }
            Err(error) => {
                self.place.remove(&name, &directory);
                Err(error)
            }
        }
    }

    /// A new file.
    fn file(&self, directory: &OwnedFd, name: &str) -> Result<Stat, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o666));
        let file = match open() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                open()?
            }
            opened => opened?,
        };
        self.owner.give_open(&file);
        rustix::fs::fstat(&file)
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
}

impl Place {
    fn spare(&self) -> MutexGuard<'_, Vec<Folder>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, Mode::empty())
    }

    /// Gives a spare folder its new name, and then looks whether it and its files are still those that were made, and as they
    /// were made: who knows only their old paths can do nothing to them any more.
    fn rename(&self, spare: Folder, name: &str) -> Option<Folder> {
        let moved = rustix::fs::renameat(&self.directory, &spare.name, &self.directory, name);
        let is_as_made = |(file, made): (&str, &Made)| {
            let stat = spare.stat(file);
            stat.is_ok_and(|stat| Made::of(&stat) == *made && stat.st_size == 0 && stat.st_nlink == 1)
        };
        if moved.is_ok() {
            let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
            let is_it =
                stat.is_ok_and(|stat| Made::of(&stat) == spare.made && changed(&stat) == spare.changed);
            if is_it && FILES.into_iter().zip(&spare.files).all(is_as_made) {
                return Some(Folder { name: name.to_owned(), ..spare });
            }
            // What somebody put there instead is not in the way of the new one.
            let _ = rustix::fs::renameat(&self.directory, name, &self.directory, &spare.name);
        }
        self.remove(&spare.name, &spare.directory);
        None
    }

    /// What is no file stays in the build's directory, where it harms nobody.
    fn remove(&self, name: &str, folder: &OwnedFd) {
        for file in FILES {
            let _ = rustix::fs::unlinkat(folder, file, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for folder in std::mem::take(&mut *self.spare()) {
            self.remove(&folder.name, &folder.directory);
        }
    }
}

impl Folder {
    fn stat(&self, file: &str) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.directory, file, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What is in the file, or why it is not to be read.
    fn read(&self, name: &str) -> Result<Vec<u8>, Unreadable> {
        let stat = self.stat(name)?;
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
}

fn changed(stat: &Stat) -> Moment {
    (stat.st_mtime, stat.st_mtime_nsec)
}

impl Made {
    fn of(stat: &Stat) -> Self {
        Made { inode: stat.st_ino, mode: stat.st_mode, owner: stat.st_uid }
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
        let folder = self.folder.as_ref().map_or("", |folder| &folder.name);
        let place = self.products.path.display();
        let path = |file: &str| format!("{place}/{folder}/{file}");
        [("DCD_OUTPUT".into(), path(OUTPUT)), ("DCD_SUMMARY".into(), path(SUMMARY))]
    }

    /// When the attempt began, by the clock of the workspace's file system.
    pub(super) fn began(&self) -> Moment {
        self.began
    }

    /// Puts what the step wrote into its end. What is wrong with its outputs makes a success an error.
    pub fn take(&mut self, end: &mut StepEnd) -> Vec<StepLog> {
        let read = |file| self.folder.as_ref().map_or(Err(Unreadable::Gone), |folder| folder.read(file));
        let (output, summary) = (read(OUTPUT), read(SUMMARY));
        // Something that the attempt started and that lives on may have the files open.
        self.is_spare =
            !end.leaked && [&output, &summary].iter().all(|read| read.as_ref().is_ok_and(Vec::is_empty));
        let mut said = Vec::new();
        match outputs(output) {
            Ok(outputs) => {
                end.outputs = outputs.into_iter().map(|(name, value)| (name, value.into())).collect();
            }
            Err(problem) if end.outcome == Outcome::Success => {
                end.outcome = Outcome::Error;
                end.problem = Some(problem);
            }
            Err(Problem { message, .. }) => said.push(warning(message)),
        }
        match summary {
            Ok(bytes) => end.summary = text_of(bytes, &mut said),
            Err(why) => said.push(warning(why.sentence("DCD_SUMMARY"))),
        }
        said
    }
}

fn outputs(read: Result<Vec<u8>, Unreadable>) -> Result<BTreeMap<String, String>, Problem> {
    let append = "write to the file that is there: echo \"name=value\" >>\"$DCD_OUTPUT\"";
    let bytes = read.map_err(|why| Problem::new(why.sentence("DCD_OUTPUT"), append))?;
    if bytes.len() > LIMIT {
        return Err(Problem::new(
            "the step wrote more than 1 MiB to DCD_OUTPUT",
            "write large things to a file in the workspace, and its name to DCD_OUTPUT",
        ));
    }
    output_file::parse(&bytes).map_err(|error| {
        Problem::new(format!("what the step wrote to DCD_OUTPUT is wrong: {error}"), error.help)
    })
}

impl Drop for Handover {
    /// Keeps what may be used again, and removes the rest.
    fn drop(&mut self) {
        let place = &self.products.place;
        match self.folder.take() {
            Some(folder) if self.is_spare => place.spare().push(folder),
            Some(folder) => place.remove(&folder.name, &folder.directory),
            None => {}
        }
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

fn text_of(bytes: Vec<u8>, said: &mut Vec<StepLog>) -> Option<String> {
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
