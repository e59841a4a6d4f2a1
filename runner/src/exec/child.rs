//! Starting a process and following it to its end.

use std::{
    collections::HashSet,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitStatus};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use crate::{
    engine::message::{StepContent, StepEnd, StepIndex, StepMessage, Stop},
    event::{Outcome, Problem, StepLog},
    exec::{
        Program, Reaper,
        command::shell_hint,
        family::{self, Family},
        output::Pieces,
        reaper,
    },
};

/// How long a process that the step left behind may hold the output before the step counts as ended.
const LEAK_WAIT: Duration = Duration::from_millis(500);
/// How often we look whether what a stopped step started has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long the end of killed processes is waited for: one that the system holds does not end.
const KILL_WAIT: Duration = Duration::from_millis(500);
/// How many of the processes that a step left behind are named.
const NAMED: usize = 3;
/// The variable that no two attempts have with the same value.
const MARK: &str = "DCD_OUTPUT";
/// A larger pipe than the usual 64 KiB: fewer turns between the step and us.
const PIPE_SIZE: usize = 256 << 10;

const CRASHED: &str = "the program crashed: look for a fault in it, or in what it was given";
const SENT: &str = "another process sent it, or the step itself";

/// The processes of one build.
#[derive(Clone)]
pub struct Processes {
    reaper: Reaper,
}

struct Running {
    family: Family,
    status: oneshot::Receiver<WaitStatus>,
    output: pipe::Receiver,
}

impl Processes {
    /// Processes that `reaper` collects.
    pub fn new(reaper: Reaper) -> Self {
        Processes { reaper }
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
    let Running { family, status, output } = running;
    let mut following = Following {
        family,
        step,
        messages,
        control,
        collected: false,
        stopped: false,
        killed: None,
        asked: HashSet::new(),
        look: None,
    };
    let (status, left) = following.follow(status, output).await;
    let leaked = left.is_some();
    if let Some(output) = left {
        following.name_holders(&output).await;
        tokio::spawn(discard(output));
    }
    let end = StepEnd { leaked, ..end_of(status, is_shell(program)) };
    Ended { end, stopped: following.stopped }
}

struct Following<'a> {
    family: Family,
    step: StepIndex,
    messages: &'a mpsc::Sender<StepMessage>,
    control: &'a mut mpsc::UnboundedReceiver<Stop>,
    /// The first process ended and was collected: its id may be another one's by now.
    collected: bool,
    stopped: bool,
    /// Since when all is killed.
    killed: Option<Instant>,
    /// Processes outside of the step's group that were asked to stop.
    asked: HashSet<Pid>,
    /// When to look what is left of a step that was stopped.
    look: Option<Instant>,
}

impl Following<'_> {
    /// Hands over all that the process prints, until it ended; when it was stopped, until all that it started
    /// ended. The pipe comes back when somebody else still holds it.
    async fn follow(
        &mut self,
        mut ended: oneshot::Receiver<WaitStatus>,
        mut output: pipe::Receiver,
    ) -> (Option<WaitStatus>, Option<pipe::Receiver>) {
        let mut pieces = Pieces::default();
        let mut status = None;
        // What the pipe still held when the process ended: that much is the step's, however long it takes to keep.
        let mut owed = 0;
        let mut patience: Option<Instant> = None;
        let mut open = true;
        while !self.collected || open || self.look.is_some() {
            let due = pieces.due();
            if self.collected && owed == 0 && self.look.is_none() {
                patience.get_or_insert_with(|| Instant::now() + LEAK_WAIT);
            } else {
                patience = None;
            }
            let piece = tokio::select! {
                biased;
                Some(stop) = self.control.recv() => {
                    self.stop(stop);
                    None
                }
                end = &mut ended, if !self.collected => {
                    status = end.ok();
                    self.collected = true;
                    self.look = self.stopped.then(Instant::now);
                    owed = rustix::io::ioctl_fionread(&output).unwrap_or(0);
                    None
                }
                () = at(self.look) => {
                    self.look = self.remains().then(|| Instant::now() + LOOK);
                    None
                }
                // Before the output: what was left behind may print without end.
                () = at(patience) => break,
                read = output.read_buf(pieces.space()), if open => match read {
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
                self.say(StepContent::Output(bytes)).await;
            }
        }
        if let Some(bytes) = pieces.rest() {
            self.say(StepContent::Output(bytes)).await;
        }
        (status, open.then_some(output))
    }

    /// Hands something over. However long that takes, the step can be stopped meanwhile.
    async fn say(&mut self, content: StepContent) {
        loop {
            tokio::select! {
                biased;
                Some(stop) = self.control.recv() => self.stop(stop),
                permit = self.messages.reserve() => {
                    if let Ok(permit) = permit {
                        permit.send(StepMessage { step: self.step, content });
                    }
                    return;
                }
            }
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.stopped = true;
        let signal = match stop {
            Stop::Grace => Signal::TERM,
            Stop::Kill => Signal::KILL,
        };
        if !self.collected {
            // Nobody else can have the id. One that left its own group is reached by itself.
            if rustix::process::kill_process_group(self.family.first, signal).is_err() {
                let _ = rustix::process::kill_process(self.family.first, signal);
            }
            // Those that were halted, by a look at the terminal for one, do not hear before they go on.
            let _ = rustix::process::kill_process_group(self.family.first, Signal::CONT);
        }
        if stop == Stop::Kill {
            self.killed.get_or_insert_with(Instant::now);
        }
        if self.collected || stop == Stop::Kill {
            self.look = Some(Instant::now());
        }
    }

    /// Whether anything of a stopped step is left to be waited for. What is outside of its group is asked to stop
    /// when the step's first process, which may have done that itself, has ended.
    fn remains(&mut self) -> bool {
        let members = self.family.members(self.collected);
        let group = self.family.first.as_raw_nonzero().get();
        for member in &members {
            if self.killed.is_some() {
                member.signal(Signal::KILL);
            } else if member.group != group && self.asked.insert(member.pid) {
                member.signal(Signal::TERM);
                member.signal(Signal::CONT);
            }
        }
        !members.is_empty() && self.killed.is_none_or(|since| since.elapsed() < KILL_WAIT)
    }

    /// Says which processes hold the output, where that can be seen.
    async fn name_holders(&mut self, output: &pipe::Receiver) {
        let Ok(stat) = rustix::fs::fstat(output) else { return };
        let file = format!("pipe:[{}]", stat.st_ino);
        let holders: Vec<_> =
            family::descendants().into_iter().filter(|process| process.holds(&file)).collect();
        for holder in holders.iter().take(NAMED) {
            let message = format!(
                "process {} is left behind and holds the step's output: {}",
                holder.pid,
                holder.command()
            );
            let log = StepLog { level: "warn".to_owned(), message, fields: Vec::new() };
            self.say(StepContent::Log(log)).await;
        }
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
