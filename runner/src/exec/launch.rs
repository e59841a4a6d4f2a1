//! Programs that a step's plugin runs: like the process of a step, but what they print can be given back.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Processes, Program,
    child::read_here,
    family::Family,
    follow::{Following, at, discard},
    output::Pieces,
    reaper::End,
    spawn::{Environment, Start},
};
use crate::{
    engine::{
        message::{StepContent, StepIndex, StepMessage, Stop},
        ports::programs::{Landing, Launch, Launched, Programs},
    },
    event::Problem,
};

/// The variable that no two programs have with the same value.
const MARK: &str = "DCD_PROGRAM";
/// How long a process that the program left behind may hold its output before that counts as complete.
const LEAK_WAIT: Duration = Duration::from_millis(500);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// What was captured of a stream.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    /// It is not all.
    cut: bool,
}

/// A stream that is being captured.
struct Capturing {
    task: JoinHandle<Captured>,
    enough: oneshot::Sender<()>,
}

impl Programs for Processes {
    fn launch(
        &self,
        launch: Launch,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
        mut control: mpsc::UnboundedReceiver<Stop>,
    ) -> Launched {
        let processes = self.clone();
        Box::pin(async move { run(&processes, launch, step, &messages, &mut control).await })
    }
}

async fn run(
    processes: &Processes,
    launch: Launch,
    step: StepIndex,
    messages: &mpsc::Sender<StepMessage>,
    control: &mut mpsc::UnboundedReceiver<Stop>,
) -> Result<Landing, Problem> {
    let mark =
        format!("{}.{}", rustix::process::getpid().as_raw_nonzero(), NEXT.fetch_add(1, Ordering::Relaxed));
    let argv = launch.argv.iter().map(Into::into).collect();
    let program =
        Program { argv, surroundings: Arc::default(), env: Vec::new(), directory: launch.directory.clone() };
    let started = start(processes, &launch, &mark).map_err(|error| program.problem(&error))?;
    let Started { pid, status, output, stdin, stdout, stderr } = started;
    if let Some(mut stdin) = stdin {
        // A program that does not read all of it closes its end.
        tokio::spawn(async move { stdin.write_all(&launch.stdin).await });
    }
    let limit = launch.capture_limit;
    let capture = |stream| Capturing::start(stream, limit, step, messages.clone());
    let (stdout, stderr) = (stdout.map(capture), stderr.map(capture));
    let family = Family { first: pid, mark: Some(format!("{MARK}={mark}")) };
    let mut following = Following::new(family, step, messages, control);
    let (status, _) = following.finish(status, output).await;
    let deadline = Instant::now() + LEAK_WAIT;
    let complete = async |stream: Option<Capturing>| match stream {
        Some(stream) => stream.complete(deadline).await,
        None => Captured::default(),
    };
    let (stdout, stderr) = (complete(stdout).await, complete(stderr).await);
    let status = status.transpose().map_err(|error| program.problem(&error))?;
    Ok(Landing {
        exit_code: status.and_then(WaitStatus::exit_status),
        signal: status.and_then(WaitStatus::terminating_signal),
        truncated: stdout.cut || stderr.cut,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
    })
}

struct Started {
    pid: Pid,
    status: oneshot::Receiver<End>,
    /// What is not captured; of stdout and stderr in their order.
    output: pipe::Receiver,
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

fn start(processes: &Processes, launch: &Launch, mark: &str) -> io::Result<Started> {
    let (output, write) = read_here()?;
    let captured = |wanted: bool| wanted.then(read_here).transpose();
    let (out, err) = (captured(launch.stdout)?, captured(launch.stderr)?);
    let input = (!launch.stdin.is_empty()).then(written_here).transpose()?;
    let other = write.as_fd();
    let stdin = input.as_ref().map_or(processes.nothing.as_fd(), |(read, _)| read.as_fd());
    // A program gets no variables of ours.
    let surroundings = Arc::default();
    let mut environment = Environment::new(&surroundings);
    for (name, value) in &launch.env {
        environment.set(name, value);
    }
    environment.set("PWD", &launch.directory);
    environment.set(MARK, mark);
    let argv: Vec<_> = launch.argv.iter().map(Into::into).collect();
    let streams = [stdin, end(out.as_ref()).unwrap_or(other), end(err.as_ref()).unwrap_or(other)];
    let start = Start { argv: &argv, environment, directory: &launch.directory, streams };
    let (pid, status) = processes.reaper.spawn(|| start.spawn())?;
    // Only our ends of the pipes stay open, or the output never ends.
    Ok(Started {
        pid,
        status,
        output,
        stdin: input.map(|(_, write)| write),
        stdout: out.map(|(read, _)| read),
        stderr: err.map(|(read, _)| read),
    })
}

/// A pipe that a program reads from.
fn written_here() -> io::Result<(PipeReader, pipe::Sender)> {
    let (read, write) = io::pipe()?;
    Ok((read, pipe::Sender::from_owned_fd(OwnedFd::from(write))?))
}

/// Its end of it.
fn end(pipe: Option<&(pipe::Receiver, PipeWriter)>) -> Option<BorrowedFd<'_>> {
    pipe.map(|(_, write)| write.as_fd())
}

impl Capturing {
    fn start(
        stream: pipe::Receiver,
        limit: usize,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
    ) -> Self {
        let (enough, stop) = oneshot::channel();
        Capturing { task: tokio::spawn(capture(stream, limit, step, messages, stop)), enough }
    }

    /// What was captured, when all was read or it is too late for more.
    async fn complete(mut self, deadline: Instant) -> Captured {
        let done = tokio::time::timeout_at(deadline.into(), &mut self.task).await;
        if let Ok(captured) = done {
            return captured.unwrap_or_default();
        }
        let _ = self.enough.send(());
        self.task.await.unwrap_or_default()
    }
}

/// Hands over all that the stream has, and keeps its beginning.
async fn capture(
    mut stream: pipe::Receiver,
    limit: usize,
    step: StepIndex,
    messages: mpsc::Sender<StepMessage>,
    mut enough: oneshot::Receiver<()>,
) -> Captured {
    let mut pieces = Pieces::default();
    let mut captured = Captured::default();
    let say = async |bytes| {
        let content = StepContent::Output(bytes);
        // Nobody listens any more when the build was given up.
        let _ = messages.send(StepMessage { step, content }).await;
    };
    loop {
        let due = pieces.due();
        let before = pieces.space().len();
        let piece = tokio::select! {
            read = stream.read_buf(pieces.space()) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    captured.keep(&pieces.space()[before..], limit);
                    pieces.after_read(Instant::now())
                }
            },
            () = at(due) => pieces.rest(),
            _ = &mut enough => {
                tokio::spawn(discard(stream));
                break;
            }
        };
        if let Some(bytes) = piece {
            say(bytes).await;
        }
    }
    if let Some(bytes) = pieces.rest() {
        say(bytes).await;
    }
    captured
}

impl Captured {
    fn keep(&mut self, new: &[u8], limit: usize) {
        let room = new.len().min(limit.saturating_sub(self.bytes.len()));
        self.bytes.extend_from_slice(&new[..room]);
        self.cut |= room < new.len();
    }
}
