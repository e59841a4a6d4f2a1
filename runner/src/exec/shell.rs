//! A shell for a person, in the place of a step.
//!
//! It is the foreground of the terminal while it runs: Ctrl-C is for what it starts, and not for dcd.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::SigSet;
use rustix::{
    process::{Pid, Signal, WaitStatus},
    termios::{OptionalActions, Termios},
};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};

use super::{
    Processes, Program,
    family::{self, Family},
    reaper::End,
};
use crate::{engine::message::Stop, text};

/// Programs that a person can talk to.
const SHELLS: [&str; 8] = ["ash", "bash", "dash", "fish", "ksh", "mksh", "sh", "zsh"];

/// How a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShellEnd {
    /// The exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How long it was open.
    pub duration: Duration,
}

/// Whether there is a person at a terminal, as far as one can see.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A shell where the program ran: the person's own if it is in this image, else the one that the program is.
pub fn program(of: &Program) -> Program {
    let own = std::env::var_os("SHELL");
    let chosen = choose(own.as_deref(), &of.argv[0], Path::is_file);
    Program { argv: vec![chosen], ..of.clone() }
}

fn choose(own: Option<&OsStr>, step: &OsStr, exists: impl Fn(&Path) -> bool) -> OsString {
    let is_shell = |program: &&OsStr| {
        let path = Path::new(program);
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| SHELLS.contains(&name)) && path.is_absolute() && exists(path)
    };
    own.into_iter().chain([step]).find(is_shell).unwrap_or(OsStr::new("/bin/sh")).to_owned()
}

impl Processes {
    /// Waits for the right to use the terminal, which one shell has at a time.
    pub async fn terminal(&self) -> OwnedMutexGuard<()> {
        self.terminal.clone().lock_owned().await
    }
}

/// Opens a shell in the terminal, after these words. Before it opens, all that is to be printed must have been.
/// A stop ends it as a closed terminal would, then kills it.
pub async fn run(
    processes: &Processes,
    program: &Program,
    words: &str,
    control: &mut mpsc::UnboundedReceiver<Stop>,
) -> io::Result<ShellEnd> {
    let terminal = Terminal::take()?;
    let words = text::harmless(words.as_bytes()).into_owned();
    io::stderr().write_all(&words)?;
    let opened = Instant::now();
    let (pid, mut ended) = start(processes, program)?;
    unhalted(|| rustix::termios::tcsetpgrp(io::stdin(), pid))?;
    // It may have looked at the terminal before that was its own, and halted.
    let _ = rustix::process::kill_process_group(pid, Signal::CONT);
    let status = loop {
        tokio::select! {
            biased;
            Some(stop) = control.recv() => end(pid, stop),
            status = &mut ended => break status.ok().transpose()?,
        }
    };
    drop(terminal);
    Ok(ShellEnd {
        exit_code: status.and_then(WaitStatus::exit_status),
        signal: status.and_then(WaitStatus::terminating_signal),
        duration: opened.elapsed(),
    })
}

fn start(processes: &Processes, program: &Program) -> io::Result<(Pid, oneshot::Receiver<End>)> {
    let (stdin, stderr) = (io::stdin(), io::stderr());
    // Standard output may go to a file: a person reads what standard error shows.
    processes.start(program, [stdin.as_fd(), stderr.as_fd(), stderr.as_fd()])
}

fn end(shell: Pid, stop: Stop) {
    let signal = match stop {
        Stop::Grace => Signal::HUP,
        Stop::Kill => Signal::KILL,
    };
    // It was not collected yet, so it is this one. What it started has groups of its own.
    let _ = rustix::process::kill_process_group(shell, signal);
    let _ = rustix::process::kill_process_group(shell, Signal::CONT);
    if stop == Stop::Kill {
        for process in (Family { first: shell, mark: None }).members(false) {
            process.signal(signal);
        }
    }
}

/// The terminal as it was. It is ours again when this is dropped.
struct Terminal {
    modes: Termios,
    group: Pid,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        let stdin = io::stdin();
        let group = rustix::termios::tcgetpgrp(&stdin)?;
        if group.as_raw_nonzero().get() != family::own_group() {
            return Err(io::Error::other("dcd is not in the foreground of its terminal"));
        }
        Ok(Terminal { modes: rustix::termios::tcgetattr(&stdin)?, group })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = unhalted(|| {
            let taken = rustix::termios::tcsetpgrp(io::stdin(), self.group);
            let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.modes);
            taken
        });
    }
}

/// Changes the terminal also while we are in its background, where the system would halt us for that.
fn unhalted<T>(change: impl FnOnce() -> T) -> T {
    let mut halting = SigSet::empty();
    halting.add(nix::sys::signal::Signal::SIGTTOU);
    let blocked = halting.thread_block();
    let changed = change();
    if blocked.is_ok() {
        let _ = halting.thread_unblock();
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_one_for_people_that_is_there() {
        let chosen = |own: &str, step: &str| {
            let exists = |path: &Path| path != Path::new("/bin/fish");
            choose(Some(OsStr::new(own)), OsStr::new(step), exists).into_string().unwrap()
        };
        assert_eq!(chosen("/usr/bin/zsh", "/bin/bash"), "/usr/bin/zsh");
        assert_eq!(chosen("/bin/fish", "/bin/bash"), "/bin/bash");
        assert_eq!(chosen("/usr/sbin/nologin", "/usr/bin/make"), "/bin/sh");
        assert_eq!(chosen("", "bash"), "/bin/sh");
        assert_eq!(choose(None, OsStr::new("/bin/dash"), |_| true), "/bin/dash");
    }
}
