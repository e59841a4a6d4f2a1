//! Starting a process and following it to its end.

use std::{
    collections::HashSet,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitStatus};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use crate::{
    engine::message::{StepContent, StepEnd, StepIndex, StepMessage, Stop},
    event::{Outcome, Problem},
    exec::{Program, Reaper, command::shell_hint, output::Pieces},
};

/// How long a process that the step left behind may hold the output before the step counts as ended.
const LEAK_WAIT: Duration = Duration::from_millis(500);
/// A larger pipe than the usual 64 KiB: fewer turns between the step and us.
const PIPE_SIZE: usize = 256 << 10;

const CRASHED: &str = "the program crashed: look for a fault in it, or in what it was given";
const SENT: &str = "another process sent it, or the step itself";

/// The processes of one build.
#[derive(Clone)]
pub struct Processes {
    reaper: Reaper,
    /// Process groups that run, or that a step left behind.
    groups: Arc<Mutex<HashSet<Pid>>>,
}

struct Running {
    pid: Pid,
    status: oneshot::Receiver<WaitStatus>,
    output: pipe::Receiver,
}

impl Processes {
    /// Processes that `reaper` collects.
    pub fn new(reaper: Reaper) -> Self {
        Processes { reaper, groups: Arc::default() }
    }

    /// Ends what still runs: what steps left behind, and the steps themselves when the build was given up.
    pub fn kill_all(&self) {
        for group in self.groups().drain() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, program: &Program) -> io::Result<Running> {
        let (read, write) = io::pipe()?;
        // A smaller pipe works, too: unprivileged users have a limit on the sum.
        let _ = rustix::pipe::fcntl_setpipe_size(&read, PIPE_SIZE);
        let mut command = std::process::Command::new(&program.argv[0]);
        for name in &program.unset {
            command.env_remove(name);
        }
        command
            .args(&program.argv[1..])
            .envs(program.env.iter().map(|(key, value)| (key, value)))
            .env("PWD", &program.directory)
            .current_dir(&program.directory)
            // A group of its own: stopping the step stops what it started.
            .process_group(0)
            .stdin(Stdio::null())
            // One pipe for both, so that their order is exact.
            .stdout(write.try_clone()?)
            .stderr(write);
        let (pid, status) = self.reaper.spawn(|| command.spawn())?;
        // `command` still holds our ends of the pipe; they must close, or the output never ends.
        drop(command);
        self.groups().insert(pid);
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(read))?;
        Ok(Running { pid, status, output })
    }
}

/// How a process ended.
pub struct Ended {
    /// As the process itself says it.
    pub end: StepEnd,
    /// It was asked to stop, so its end says nothing about its work.
    pub stopped: bool,
}

/// Runs a program as a step's attempt, to its end. All it prints goes to `messages`.
pub async fn run(
    processes: &Processes,
    program: &Program,
    step: StepIndex,
    messages: &mpsc::Sender<StepMessage>,
    control: &mut mpsc::UnboundedReceiver<Stop>,
) -> Ended {
    let running = match processes.spawn(program) {
        Ok(running) => running,
        Err(error) => return Ended { end: StepEnd::error(program.problem(&error)), stopped: false },
    };
    let mut following = Following { pid: running.pid, step, messages, control, stopped: false };
    let (status, left) = following.follow(running).await;
    let leaked = left.is_some();
    if let Some(output) = left {
        tokio::spawn(discard(output));
    } else if rustix::process::test_kill_process_group(following.pid).is_err() {
        processes.groups().remove(&following.pid);
    }
    let end = StepEnd { leaked, ..end_of(status, is_shell(program)) };
    Ended { end, stopped: following.stopped }
}

struct Following<'a> {
    pid: Pid,
    step: StepIndex,
    messages: &'a mpsc::Sender<StepMessage>,
    control: &'a mut mpsc::UnboundedReceiver<Stop>,
    stopped: bool,
}

impl Following<'_> {
    /// Hands over all that the process prints, until it ended. The pipe comes back when somebody else still
    /// holds it.
    async fn follow(&mut self, mut running: Running) -> (Option<WaitStatus>, Option<pipe::Receiver>) {
        let mut pieces = Pieces::default();
        let mut status = None;
        // What the pipe still held when the process ended: that much is the step's, however long it takes to keep.
        let mut owed = 0;
        let mut patience: Option<Instant> = None;
        let mut open = true;
        while status.is_none() || open {
            let due = pieces.due();
            if status.is_some() && owed == 0 {
                patience.get_or_insert_with(|| Instant::now() + LEAK_WAIT);
            }
            let piece = tokio::select! {
                biased;
                Some(stop) = self.control.recv() => {
                    self.stop(stop);
                    None
                }
                ended = &mut running.status, if status.is_none() => {
                    status = Some(ended.ok());
                    owed = rustix::io::ioctl_fionread(&running.output).unwrap_or(0);
                    None
                }
                // Before the output: what was left behind may print without end.
                () = at(patience) => break,
                read = running.output.read_buf(pieces.space()), if open => match read {
                    Ok(0) | Err(_) => {
                        open = false;
                        None
                    }
                    Ok(read) => {
                        owed = owed.saturating_sub(read as u64);
                        pieces.after_read(Instant::now())
                    }
                },
                () = at(due) => pieces.rest(),
            };
            if let Some(bytes) = piece {
                self.say(bytes).await;
            }
        }
        if let Some(bytes) = pieces.rest() {
            self.say(bytes).await;
        }
        (status.flatten(), open.then_some(running.output))
    }

    /// Hands a piece over. However long that takes, the step can be stopped meanwhile.
    async fn say(&mut self, bytes: Bytes) {
        loop {
            tokio::select! {
                biased;
                Some(stop) = self.control.recv() => self.stop(stop),
                permit = self.messages.reserve() => {
                    if let Ok(permit) = permit {
                        permit.send(StepMessage { step: self.step, content: StepContent::Output(bytes) });
                    }
                    return;
                }
            }
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.stopped = true;
        signal_group(self.pid, stop);
    }
}

/// A process that was left behind must not stop at a full or closed pipe.
async fn discard(mut output: pipe::Receiver) {
    let mut buffer = vec![0; 4096];
    while output.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn signal_group(group: Pid, stop: Stop) {
    let signal = match stop {
        Stop::Grace => Signal::TERM,
        Stop::Kill => Signal::KILL,
    };
    // It may have ended by itself just now.
    let _ = rustix::process::kill_process_group(group, signal);
}

fn end_of(status: Option<WaitStatus>, shell: bool) -> StepEnd {
    let Some(status) = status else {
        return StepEnd::error(Problem::new(
            "the end of the step's process could not be observed",
            "something else in this container collects its processes; report this",
        ));
    };
    let exit_code = status.exit_status();
    let signal = status.terminating_signal();
    let outcome = if exit_code == Some(0) { Outcome::Success } else { Outcome::Failure };
    let problem = match (exit_code, signal) {
        (Some(code), _) if shell => shell_hint(code),
        (None, Some(signal)) => Some(killed(signal)),
        _ => None,
    };
    StepEnd { exit_code, signal, problem, ..StepEnd::new(outcome) }
}

fn killed(signal: i32) -> Problem {
    let (name, help) = match Signal::from_named_raw(signal) {
        Some(Signal::KILL) => (
            "SIGKILL",
            "out of memory? The kernel ends processes this way (see `dmesg`, or the container's memory limit)",
        ),
        Some(Signal::SEGV) => ("SIGSEGV", CRASHED),
        Some(Signal::ABORT) => ("SIGABRT", CRASHED),
        Some(Signal::BUS) => ("SIGBUS", CRASHED),
        Some(Signal::ILL) => ("SIGILL", CRASHED),
        Some(Signal::FPE) => ("SIGFPE", CRASHED),
        Some(Signal::TERM) => ("SIGTERM", SENT),
        Some(Signal::INT) => ("SIGINT", SENT),
        Some(Signal::HUP) => ("SIGHUP", SENT),
        _ => ("", SENT),
    };
    let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
    Problem::new(format!("the process was ended by signal {signal}{name}"), help)
}

fn is_shell(program: &Program) -> bool {
    PathBuf::from(&program.argv[0]).file_name().is_some_and(|name| name == "sh")
}
