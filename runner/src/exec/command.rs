//! What to start, and what to say when it cannot be started.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::fledgling::{self, Texts};
use crate::{event::Problem, pipeline::Command};

/// Variables that many processes get, made ready for them once.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Of each name the number of its text.
    places: BTreeMap<OsString, usize>,
    /// As `NAME=value`.
    texts: Texts,
    /// One of them is nothing that a process can have.
    is_wrong: bool,
}

/// A process to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments. Never empty.
    pub argv: Vec<OsString>,
    /// The variables that it gets with others.
    pub surroundings: Arc<Surroundings>,
    /// Its own. The last value that a variable is given is the one that it has.
    pub env: Vec<(String, String)>,
    /// Where it starts; absolute.
    pub directory: PathBuf,
}

impl FromIterator<(OsString, OsString)> for Surroundings {
    /// The last value that a variable is given is the one that it has.
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        let mut texts = Texts::room_for(variables.len());
        let is_wrong = variables.iter().any(|(name, value)| texts.push_variable(name, value).is_err());
        Surroundings { places: variables.into_keys().zip(0..).collect(), texts, is_wrong }
    }
}

impl Surroundings {
    pub(super) fn get(&self, name: &OsStr) -> Option<&OsStr> {
        let text = self.texts.get(self.place(name)?)?;
        text.get(name.len() + 1..).map(OsStr::from_bytes)
    }

    /// Which of the [texts](Self::texts) a variable has.
    pub(super) fn place(&self, name: &OsStr) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub(super) fn texts(&self) -> io::Result<&Texts> {
        if self.is_wrong { Err(fledgling::nul()) } else { Ok(&self.texts) }
    }
}

impl Program {
    /// What runs the command.
    pub fn new(
        command: &Command,
        surroundings: Arc<Surroundings>,
        env: Vec<(String, String)>,
        directory: PathBuf,
    ) -> Self {
        let argv = match command {
            Command::Shell { shell, script } => {
                shell.iter().map(OsString::from).chain([script.into()]).collect()
            }
            Command::Exec(argv) => argv.iter().map(OsString::from).collect(),
        };
        Program { argv, surroundings, env, directory }
    }

    /// What is wrong when the system refused to start it.
    pub fn problem(&self, error: &io::Error) -> Problem {
        let name = self.argv[0].to_string_lossy();
        if self.directory.is_file() {
            return Problem::new(
                format!("the step's working directory {} is a file", self.directory.display()),
                "name the directory in `workdir`",
            );
        }
        if !self.directory.is_dir() {
            return Problem::new(
                format!("the step's working directory {} does not exist", self.directory.display()),
                "create it in an earlier step, or correct `workdir`",
            );
        }
        let file = self.directory.join(name.as_ref());
        let is_path = name.contains('/');
        match error.kind() {
            io::ErrorKind::NotFound if is_path && file.exists() => Problem::new(
                format!("`{name}` is there, but what it needs to run is not"),
                format!(
                    "check that the interpreter on its first line{} exists in this image",
                    first_line(&file)
                ),
            ),
            io::ErrorKind::NotFound if is_path => Problem::new(
                format!("there is no file {}", file.components().collect::<PathBuf>().display()),
                "check the path in `run`; it is relative to `workdir`",
            ),
            io::ErrorKind::NotFound => Problem::new(
                format!("there is no program `{name}` in PATH"),
                "install it in the image, or check its spelling in `run`",
            ),
            io::ErrorKind::PermissionDenied if is_path && file.is_dir() => {
                Problem::new(format!("`{name}` is a directory"), "name a program in `run`")
            }
            io::ErrorKind::PermissionDenied if lacks_executable_bit(&file) => Problem::new(
                format!("`{name}` is not executable"),
                format!(
                    "run `chmod +x {name}` and commit that, or start it through its interpreter: [\"sh\", \"{name}\"]"
                ),
            ),
            io::ErrorKind::PermissionDenied => Problem::new(
                format!("the system does not permit running `{name}`"),
                "check its permissions, and whether its file system is mounted `noexec`",
            ),
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => Problem::new(
                format!("`{name}` is not in a format that this system can execute"),
                "begin a script with a line like `#!/bin/sh`; build a program for this machine's architecture",
            ),
            _ if error.raw_os_error() == Some(rustix::io::Errno::TOOBIG.raw_os_error()) => Problem::new(
                "the step's arguments and environment are too long for the system",
                "write a long script to a file and run that",
            ),
            _ => Problem::new(format!("`{name}` could not be started: {error}"), "see what the system says"),
        }
    }
}

fn lacks_executable_bit(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 == 0)
}

/// ` (#!/bin/bash)`, when the file begins like a script.
fn first_line(file: &Path) -> String {
    let mut start = [0; 128];
    let read =
        std::fs::File::open(file).and_then(|mut file| io::Read::read(&mut file, &mut start)).unwrap_or(0);
    let line = start[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
    match std::str::from_utf8(line) {
        Ok(line) if line.starts_with("#!") => format!(" ({})", line.trim_end()),
        _ => String::new(),
    }
}
