//! Starting processes, and ending them with the build.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Signal, WaitStatus};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use super::{
    Program, Reaper,
    end::{end_of, is_shell},
    family::{self, Family},
    follow::Following,
    reaper,
};
use crate::engine::message::{StepEnd, StepIndex, StepMessage, Stop};

/// How long the end of killed processes is waited for: one that the system holds does not end.
pub(super) const KILL_WAIT: Duration = Duration::from_millis(500);
/// The variable that no two attempts have with the same value.
const MARK: &str = "DCD_OUTPUT";
/// A larger pipe than the usual 64 KiB: fewer turns between the step and us.
const PIPE_SIZE: usize = 256 << 10;

/// The processes of one build.
#[derive(Clone)]
pub struct Processes {
    pub(super) reaper: Reaper,
    /// Whose turn it is to use the terminal.
    pub(super) terminal: Arc<tokio::sync::Mutex<()>>,
}

struct Running {
    family: Family,
    status: oneshot::Receiver<WaitStatus>,
    output: pipe::Receiver,
}

impl Processes {
    /// Processes that `reaper` collects.
    pub fn new(reaper: Reaper) -> Self {
        Processes { reaper, terminal: Arc::default() }
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
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(read))?;
        let mark =
            program.env.iter().find(|(name, _)| name == MARK).map(|(name, value)| format!("{name}={value}"));
        Ok(Running { family: Family { first: pid, mark }, status, output })
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
    let mut following = Following::new(running.family, step, messages, control);
    let (status, leaked) = following.finish(running.status, running.output).await;
    let end = StepEnd { leaked, ..end_of(status, is_shell(program)) };
    Ended { end, stopped: following.stopped() }
}
