//! Starting processes, and ending them with the build.

use std::{
    fs::File,
    io::{self, PipeWriter},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use super::{
    Program,
    end::{end_of, is_shell},
    family::{self, Family},
    follow::Following,
    reaper::{self, End, Reaper},
    spawn::{Environment, Start},
};
use crate::engine::message::{StepEnd, StepIndex, StepMessage, Stop};

/// How long the end of killed processes is waited for: one that the system holds does not end.
pub(super) const KILL_WAIT: Duration = Duration::from_millis(500);
/// The variable that no two attempts have with the same value.
const MARK: &str = "DCD_OUTPUT";

/// The processes of one build.
#[derive(Clone)]
pub struct Processes {
    pub(super) reaper: Reaper,
    /// Whose turn it is to use the terminal.
    pub(super) terminal: Arc<tokio::sync::Mutex<()>>,
    /// `/dev/null`, to read from.
    pub(super) nothing: Arc<File>,
}

struct Running {
    family: Family,
    status: oneshot::Receiver<End>,
    output: pipe::Receiver,
}

impl Processes {
    /// Processes that are collected on the current runtime. Once in a process: two would take each other's dead.
    pub fn collected() -> io::Result<Self> {
        Ok(Processes { reaper: Reaper::start()?, terminal: Arc::default(), nothing: Arc::new(nothing()?) })
    }

    /// Ends what still runs: what steps left behind, and the steps themselves when the build was given up.
    pub fn kill_all(&self) {
        let started = Instant::now();
        // Again and again: one may have started another one just now.
        while reaper::has_child() && started.elapsed() < KILL_WAIT {
            let left = family::descendants();
            if left.is_empty() {
                return;
            }
            for process in left {
                process.signal(Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a step's process with these streams.
    pub(super) fn start(
        &self,
        program: &Program,
        streams: [BorrowedFd<'_>; 3],
    ) -> io::Result<(Pid, oneshot::Receiver<End>)> {
        let mut environment = Environment::new(&program.surroundings);
        for (name, value) in &program.env {
            environment.set(name, value);
        }
        environment.set("PWD", &program.directory);
        let start = Start { argv: &program.argv, environment, directory: &program.directory, streams };
        self.reaper.spawn(|| start.spawn())
    }

    fn run(&self, program: &Program) -> io::Result<Running> {
        let (output, write) = read_here()?;
        // One pipe for both, so that their order is exact.
        let (pid, status) = self.start(program, [self.nothing.as_fd(), write.as_fd(), write.as_fd()])?;
        // Our end must close, or the output never ends.
        drop(write);
        let mark =
            program.env.iter().find(|(name, _)| name == MARK).map(|(name, value)| format!("{name}={value}"));
        Ok(Running { family: Family { first: pid, mark }, status, output })
    }
}

/// A pipe that a process writes to.
pub(super) fn read_here() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (read, write) = io::pipe()?;
    // Nothing else is to be found out about a new one.
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(OwnedFd::from(read))?, write))
}

fn nothing() -> io::Result<File> {
    File::open("/dev/null").map_err(|error| io::Error::other(format!("/dev/null cannot be opened: {error}")))
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
    let refused = |error| StepEnd::error(program.problem(&error));
    let running = match processes.run(program) {
        Ok(running) => running,
        Err(error) => return Ended { end: refused(error), stopped: false },
    };
    let mut following = Following::new(running.family, step, messages, control);
    let (status, leaked) = following.finish(running.status, running.output).await;
    let end = match status.transpose() {
        Ok(status) => StepEnd { leaked, ..end_of(status, is_shell(program)) },
        Err(error) => refused(error),
    };
    Ended { end, stopped: following.stopped() }
}
