//! Starting a process, by `posix_spawn`.
//!
//! The standard library copies all variables of its own environment for each process, some of them three times, and opens
//! `/dev/null`: for a pipeline of many short steps that costs more than their record.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr, OsString},
    io,
    marker::PhantomData,
    mem,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
};

use nix::{
    libc::{self, c_char, c_int, c_short},
    sys::signal::{SigSet, Signal},
};
use rustix::{fs::Access, process::Pid};

/// Where programs are looked for when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Variables that many processes get: a name, and the value that follows it.
pub(super) type Inherited = BTreeMap<OsString, OsString>;

/// A process to start. It gets a group of its own: stopping that stops what it started.
pub(super) struct Start<'a> {
    /// The program and its arguments. Never empty.
    pub(super) argv: &'a [OsString],
    pub(super) environment: Environment<'a>,
    /// Where it starts; absolute.
    pub(super) directory: &'a Path,
    /// Its standard input, output and error.
    pub(super) streams: [BorrowedFd<'a>; 3],
}

/// The variables of a process: those that it inherits, and what differs from them.
pub(super) struct Environment<'a> {
    inherited: &'a Inherited,
    /// `None` for one that it does not get.
    changed: BTreeMap<&'a OsStr, Option<&'a OsStr>>,
}

/// Texts as the system takes them: one after the other, each with a NUL at its end.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// What `posix_spawn` is told beside the program.
struct Manner<'a> {
    // In boxes, as no libc says that what it initialised may be moved.
    actions: Box<libc::posix_spawn_file_actions_t>,
    attributes: Box<libc::posix_spawnattr_t>,
    arguments: Vec<*mut c_char>,
    variables: Vec<*mut c_char>,
    /// What the pointers point to.
    _texts: PhantomData<&'a Texts>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(inherited: &'a Inherited) -> Self {
        Environment { inherited, changed: BTreeMap::new() }
    }

    /// The last value that a variable is given is the one that it has.
    pub(super) fn set(
        &mut self,
        name: &'a (impl AsRef<OsStr> + ?Sized),
        value: &'a (impl AsRef<OsStr> + ?Sized),
    ) {
        self.changed.insert(name.as_ref(), Some(value.as_ref()));
    }

    pub(super) fn unset(&mut self, name: &'a str) {
        self.changed.insert(name.as_ref(), None);
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        match self.changed.get(OsStr::new(name)) {
            Some(changed) => *changed,
            None => self.inherited.get(OsStr::new(name)).map(OsString::as_os_str),
        }
    }

    /// All of them.
    fn texts(&self) -> io::Result<Texts> {
        let mut texts = Texts::default();
        let kept = self.inherited.iter().filter(|(name, _)| !self.changed.contains_key(name.as_os_str()));
        let changed = self.changed.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        for (name, value) in kept.map(|(name, value)| (name.as_os_str(), value.as_os_str())).chain(changed) {
            texts.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        Ok(texts)
    }
}

impl Start<'_> {
    pub(super) fn spawn(&self) -> io::Result<Pid> {
        let mut arguments = Texts::default();
        for argument in self.argv {
            arguments.push(&[argument.as_bytes()])?;
        }
        let variables = self.environment.texts()?;
        let manner = Manner::new(self.directory, self.streams, &arguments, &variables)?;
        let program = &self.argv[0];
        if program.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if program.as_bytes().contains(&b'/') {
            return manner.spawn(program);
        }
        let path = self.environment.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
        for place in std::env::split_paths(path) {
            let file = self.directory.join(place).join(program);
            let tried = match rustix::fs::access(&file, Access::EXEC_OK) {
                Ok(()) => manner.spawn(file.as_os_str()),
                Err(error) => Err(error.into()),
            };
            // As `execvp` does: on to the next place, and what is there but not ours to run is said in the end.
            match tried {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = error,
                Err(error) if is_absence(&error) => {}
                tried => return tried,
            }
        }
        Err(refused)
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Texts {
    /// One more, of these parts.
    fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.starts.push(self.bytes.len());
        for part in parts {
            if memchr::memchr(0, part).is_some() {
                let what = "there is a NUL byte in its arguments or its environment";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }

    /// Where each begins; null at the end. Nobody writes through them: `posix_spawn` has its type from before `const`.
    fn pointers(&self) -> Vec<*mut c_char> {
        let texts = self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast_mut().cast());
        texts.chain([ptr::null_mut()]).collect()
    }
}

impl<'a> Manner<'a> {
    fn new(
        directory: &Path,
        streams: [BorrowedFd<'_>; 3],
        arguments: &'a Texts,
        variables: &'a Texts,
    ) -> io::Result<Self> {
        let directory = CString::new(directory.as_os_str().as_bytes())?;
        #[allow(unsafe_code, reason = "no crate wraps a change of the directory in between")]
        // SAFETY: they are made of numbers, pointers and what may be anything; their functions set what else they need, of
        // boxes that live on.
        let (actions, attributes) = unsafe {
            let (mut actions, mut attributes) = (Box::new(mem::zeroed()), Box::new(mem::zeroed()));
            done(libc::posix_spawn_file_actions_init(&raw mut *actions))?;
            done(libc::posix_spawnattr_init(&raw mut *attributes))?;
            (actions, attributes)
        };
        let (arguments, variables) = (arguments.pointers(), variables.pointers());
        let mut manner = Manner { actions, attributes, arguments, variables, _texts: PhantomData };
        let (actions, attributes) = (&raw mut *manner.actions, &raw mut *manner.attributes);
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGDEF;
        let mut usual = SigSet::empty();
        // Rust's programs ignore it, others expect to be ended by it.
        usual.add(Signal::SIGPIPE);
        #[allow(unsafe_code, reason = "as above")]
        // SAFETY: both structures were initialised, and every pointer is one to a value that lives during its call.
        unsafe {
            for (stream, number) in streams.iter().zip(0..) {
                done(libc::posix_spawn_file_actions_adddup2(actions, stream.as_raw_fd(), number))?;
            }
            done(libc::posix_spawn_file_actions_addchdir_np(actions, directory.as_ptr()))?;
            done(libc::posix_spawnattr_setflags(attributes, c_short::try_from(flags).unwrap_or_default()))?;
            done(libc::posix_spawnattr_setpgroup(attributes, 0))?;
            done(libc::posix_spawnattr_setsigdefault(attributes, usual.as_ref()))?;
        }
        Ok(manner)
    }

    /// Starts the program of this path.
    fn spawn(&self, program: &OsStr) -> io::Result<Pid> {
        let program = CString::new(program.as_bytes())?;
        let mut pid = 0;
        #[allow(unsafe_code, reason = "as above")]
        // SAFETY: the structures were initialised; the arrays end with null, and point to texts that end with NUL and
        // live as long as `self`.
        done(unsafe {
            libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                &raw const *self.actions,
                &raw const *self.attributes,
                self.arguments.as_ptr(),
                self.variables.as_ptr(),
            )
        })?;
        Pid::from_raw(pid).ok_or_else(|| io::Error::other("the new process has no id"))
    }
}

impl Drop for Manner<'_> {
    fn drop(&mut self) {
        #[allow(unsafe_code, reason = "as above")]
        // SAFETY: both were initialised, and are not used any more.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&raw mut *self.actions);
            libc::posix_spawnattr_destroy(&raw mut *self.attributes);
        }
    }
}

/// These functions give their error back.
fn done(code: c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{PipeReader, Read},
        os::{fd::AsFd, unix::fs::PermissionsExt},
    };

    use super::*;

    /// What a program prints, with these variables.
    fn printed(argv: &[&str], variables: &[(&str, Option<&str>)], directory: &Path) -> io::Result<String> {
        let inherited: Inherited = [("PATH", "/usr/bin:/bin"), ("KEPT", "1"), ("HIDDEN", "2"), ("OLD", "3")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let mut environment = Environment::new(&inherited);
        for (name, value) in variables {
            match value {
                Some(value) => environment.set(name, value),
                None => environment.unset(name),
            }
        }
        let argv: Vec<_> = argv.iter().map(Into::into).collect();
        let (mut read, write) = io::pipe()?;
        let nothing = fs::File::open("/dev/null")?;
        let streams = [nothing.as_fd(), write.as_fd(), write.as_fd()];
        let pid = Start { argv: &argv, environment, directory, streams }.spawn()?;
        drop(write);
        let text = text(&mut read)?;
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
        Ok(text)
    }

    fn text(read: &mut PipeReader) -> io::Result<String> {
        let mut text = String::new();
        read.read_to_string(&mut text).map(|_| text)
    }

    fn script(directory: &Path, name: &str, text: &str, mode: u32) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_process_has_its_variables_and_no_others() {
        let variables = [
            ("NEW", Some("a")),
            ("HIDDEN", None),
            ("OLD", None),
            ("OLD", Some("b=c")),
            ("NEW", Some("")),
            ("NONE", None),
        ];
        let printed = printed(&["env"], &variables, Path::new("/")).unwrap();
        let mut lines: Vec<_> = printed.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["KEPT=1", "NEW=", "OLD=b=c", "PATH=/usr/bin:/bin"]);
    }

    #[test]
    fn a_process_is_where_and_as_it_should_be() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        let asked = "pwd; read line || echo nothing; cut -d' ' -f5 /proc/$$/stat; echo $$; echo there >&2; grep SigIgn /proc/self/status";
        let printed = printed(&["/bin/sh", "-c", asked], &[], &place).unwrap();
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines[..2], [place.to_str().unwrap(), "nothing"]);
        assert_eq!(lines[2], lines[3], "it leads its group");
        assert_eq!(lines[4], "there");
        let ignored = u64::from_str_radix(lines[5].trim_start_matches("SigIgn:").trim(), 16).unwrap();
        assert_eq!(ignored & (1 << (Signal::SIGPIPE as u32 - 1)), 0, "SIGPIPE ends it");
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        script(place, "one/tool", "#!/bin/sh\necho one\n", 0o644);
        script(place, "two/tool", "#!/nowhere/sh\n", 0o755);
        fs::create_dir_all(place.join("three/tool")).unwrap();
        script(place, "four/tool", "#!/bin/sh\necho four\n", 0o755);
        let tool = |path: &str| printed(&["tool"], &[("PATH", Some(path))], place);
        let absolute = place.join("four");
        assert_eq!(tool("one:two:three:four").unwrap(), "four\n", "relative to where it starts");
        assert_eq!(tool(&format!("/nowhere:{}", absolute.display())).unwrap(), "four\n");
        assert_eq!(tool("one:two").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tool("three").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tool("two").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(tool("").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(printed(&["four/tool"], &[], place).unwrap(), "four\n");
        script(place, "here", "#!/bin/sh\necho here\n", 0o755);
        assert_eq!(printed(&["here"], &[("PATH", Some("/nowhere:"))], place).unwrap(), "here\n");
        assert_eq!(printed(&[""], &[], place).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(printed(&["sh", "-c", "echo found"], &[("PATH", None)], place).unwrap(), "found\n");
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let failed = |argv: &[&str], value: &str, place: &str| {
            printed(argv, &[("NAME", Some(value))], Path::new(place)).unwrap_err()
        };
        assert_eq!(failed(&["true", "a\0b"], "", "/").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(failed(&["true"], "a\0b", "/").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(failed(&["/bin/sh"], "", "/nowhere").kind(), io::ErrorKind::NotFound);
        let long = "x".repeat(4 << 20);
        assert_eq!(failed(&["true"], &long, "/").raw_os_error(), Some(libc::E2BIG));
    }
}
