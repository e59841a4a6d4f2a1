//! Starting a process.
//!
//! The usual ways make us wait until the new process runs its program, nearly as long as all else takes us that a step needs;
//! and the standard library's copies all variables of its environment for each. Here the process prepares itself, while we go
//! on; what it could not do is known when it has been collected.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

use super::{
    command::Surroundings,
    fledgling::{Fledgling, Plan, Pointers, Texts},
};

/// Where programs are looked for when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

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

/// The variables of a process: those that it gets with others, and its own.
pub(super) struct Environment<'a> {
    surroundings: &'a Arc<Surroundings>,
    own: BTreeMap<&'a OsStr, &'a OsStr>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(surroundings: &'a Arc<Surroundings>) -> Self {
        Environment { surroundings, own: BTreeMap::new() }
    }

    /// The last value that a variable is given is the one that it has.
    pub(super) fn set(
        &mut self,
        name: &'a (impl AsRef<OsStr> + ?Sized),
        value: &'a (impl AsRef<OsStr> + ?Sized),
    ) {
        self.own.insert(name.as_ref(), value.as_ref());
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        let name = OsStr::new(name);
        self.own.get(name).copied().or_else(|| self.surroundings.get(name))
    }

    /// All of them.
    fn pointers(&self) -> io::Result<Pointers> {
        let mut own = Texts::room_for(self.own.len());
        for (name, value) in &self.own {
            own.push_variable(name, value)?;
        }
        let places = self.own.keys().map(|name| self.surroundings.place(name));
        own.pointers_among(self.surroundings, places)
    }
}

impl Start<'_> {
    pub(super) fn spawn(&self) -> io::Result<Fledgling> {
        let mut arguments = Texts::default();
        for argument in self.argv {
            arguments.push(&[argument.as_bytes()])?;
        }
        Fledgling::start(Plan {
            files: self.files()?.pointers(),
            arguments: arguments.pointers(),
            variables: self.environment.pointers()?,
            directory: CString::new(self.directory.as_os_str().as_bytes())?,
            streams: self.streams.map(|stream| stream.as_raw_fd()),
        })
    }

    /// Where the program may be.
    fn files(&self) -> io::Result<Texts> {
        let mut files = Texts::default();
        let program = self.argv[0].as_bytes();
        if program.contains(&b'/') {
            files.push(&[program])?;
        } else if !program.is_empty() {
            let path = self.environment.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
            for place in path.as_bytes().split(|byte| *byte == b':') {
                // An empty place is where it starts.
                let separator: &[u8] = if place.is_empty() { b"./" } else { b"/" };
                files.push(&[place, separator, program])?;
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{PipeReader, Read},
        os::{fd::AsFd, unix::fs::PermissionsExt},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use nix::{
        libc,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet},
    };

    use super::*;

    /// What a program prints, with these variables.
    fn printed(argv: &[&str], variables: &[(&str, &str)], directory: &Path) -> io::Result<String> {
        let around = [("PATH", "/usr/bin:/bin"), ("KEPT", "1"), ("OLD", "3")];
        among(&around, argv, variables, directory)
    }

    fn among(
        around: &[(&str, &str)],
        argv: &[&str],
        variables: &[(&str, &str)],
        directory: &Path,
    ) -> io::Result<String> {
        let surroundings = Arc::new(around.iter().map(|(name, value)| (name.into(), value.into())).collect());
        let mut environment = Environment::new(&surroundings);
        for (name, value) in variables {
            environment.set(name, value);
        }
        let argv: Vec<_> = argv.iter().map(Into::into).collect();
        let (mut read, write) = io::pipe()?;
        let nothing = fs::File::open("/dev/null")?;
        let streams = [nothing.as_fd(), write.as_fd(), write.as_fd()];
        let started = Start { argv: &argv, environment, directory, streams }.spawn()?;
        drop(write);
        let text = text(&mut read)?;
        let collected = rustix::process::waitpid(Some(started.pid()), rustix::process::WaitOptions::empty())?;
        started.ended(collected.unwrap().1)?;
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
        let variables = [("NEW", "a"), ("OLD", "b=c"), ("NEW", "")];
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
        assert_eq!(ignored & (1 << (libc::SIGPIPE - 1)), 0, "SIGPIPE ends it");
    }

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        script(place, "one/tool", "#!/bin/sh\necho one\n", 0o644);
        script(place, "two/tool", "#!/nowhere/sh\n", 0o755);
        fs::create_dir_all(place.join("three/tool")).unwrap();
        script(place, "four/tool", "#!/bin/sh\necho four\n", 0o755);
        let tool = |path: &str| printed(&["tool"], &[("PATH", path)], place);
        let absolute = place.join("four");
        assert_eq!(tool("one:two:three:four").unwrap(), "four\n", "relative to where it starts");
        assert_eq!(tool(&format!("/nowhere:{}", absolute.display())).unwrap(), "four\n");
        assert_eq!(tool("one:two").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tool("three").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(tool("two").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(tool("").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(printed(&["four/tool"], &[], place).unwrap(), "four\n");
        script(place, "here", "#!/bin/sh\necho here\n", 0o755);
        assert_eq!(printed(&["here"], &[("PATH", "/nowhere:")], place).unwrap(), "here\n");
        assert_eq!(printed(&[""], &[], place).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(among(&[], &["sh", "-c", "echo found"], &[], place).unwrap(), "found\n");
    }

    /// Signals that came to this process, and were meant for another.
    static MISSENT: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: libc::c_int) {
        MISSENT.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_signal_right_after_the_start_is_for_the_new_process() {
        use rustix::process::Signal;
        // Those that dcd stops at.
        let signals = [Signal::HUP, Signal::INT, Signal::TERM];
        let handler = SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
        #[allow(unsafe_code, reason = "a handler may do little")]
        // SAFETY: this one adds to a number.
        unsafe {
            for signal in signals {
                let signal = nix::sys::signal::Signal::try_from(signal.as_raw()).unwrap();
                nix::sys::signal::sigaction(signal, &handler).unwrap();
            }
        }
        let nothing = fs::File::open("/dev/null").unwrap();
        let argv = ["sleep".into(), "100".into()];
        let surroundings = Arc::default();
        for (round, signal) in signals.into_iter().cycle().take(300).enumerate() {
            let started = Start {
                argv: &argv,
                environment: Environment::new(&surroundings),
                directory: Path::new("/"),
                streams: [nothing.as_fd(); 3],
            };
            let started = started.spawn().unwrap();
            for _ in 0..round * 10 {
                std::hint::spin_loop();
            }
            rustix::process::kill_process(started.pid(), signal).unwrap();
            let collected =
                rustix::process::waitpid(Some(started.pid()), rustix::process::WaitOptions::empty());
            let status = started.ended(collected.unwrap().unwrap().1).unwrap();
            assert_eq!(status.terminating_signal(), Some(signal.as_raw()));
        }
        assert_eq!(MISSENT.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn many_at_once_do_not_get_in_each_others_way() {
        let nothing = fs::File::open("/dev/null").unwrap();
        let surroundings = Arc::default();
        let start = |thread: usize, number: usize| {
            let program = if number.is_multiple_of(3) { "/nowhere/program" } else { "/bin/sh" };
            let argv: [OsString; 3] =
                [program.into(), "-c".into(), format!("test $MINE = {thread}.{number}").into()];
            let mine = format!("{thread}.{number}");
            let mut environment = Environment::new(&surroundings);
            environment.set("MINE", &mine);
            let streams = [nothing.as_fd(); 3];
            Start { argv: &argv, environment, directory: Path::new("/"), streams }.spawn().unwrap()
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let start = &start;
                scope.spawn(move || {
                    let started: Vec<_> = (0..60).map(|number| start(thread, number)).collect();
                    for (number, started) in started.into_iter().enumerate() {
                        let collected = rustix::process::waitpid(
                            Some(started.pid()),
                            rustix::process::WaitOptions::empty(),
                        );
                        let ended = started.ended(collected.unwrap().unwrap().1);
                        match number % 3 {
                            0 => assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::NotFound),
                            _ => assert_eq!(ended.unwrap().exit_status(), Some(0)),
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let failed = |argv: &[&str], value: &str, place: &str| {
            printed(argv, &[("NAME", value)], Path::new(place)).unwrap_err()
        };
        assert_eq!(failed(&["true", "a\0b"], "", "/").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(failed(&["true"], "a\0b", "/").kind(), io::ErrorKind::InvalidInput);
        let around = among(&[("A", "1"), ("B", "a\0b")], &["/bin/true"], &[], Path::new("/"));
        assert_eq!(around.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(failed(&["/bin/sh"], "", "/nowhere").kind(), io::ErrorKind::NotFound);
        let long = "x".repeat(4 << 20);
        assert_eq!(failed(&["true"], &long, "/").raw_os_error(), Some(libc::E2BIG));
    }
}
