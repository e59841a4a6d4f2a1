//! Following a process to its end: what it prints, how it is stopped, and what it leaves behind.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::{mpsc, oneshot},
};

use super::{
    child::KILL_WAIT,
    family::{self, Family},
    output::{PIECE, Pieces},
    reaper::End,
};
use crate::{
    engine::message::{StepContent, StepIndex, StepMessage, Stop},
    event::StepLog,
};

/// How long a process that the step left behind may hold the output before the step counts as ended.
const LEAK_WAIT: Duration = Duration::from_millis(500);
/// How often we look whether what a stopped step started has ended.
const LOOK: Duration = Duration::from_millis(20);
/// A larger pipe than the usual 64 KiB, for who fills that: fewer turns between the step and us.
const PIPE_SIZE: usize = 256 << 10;
/// How many of the processes that a step left behind are named.
const NAMED: usize = 3;

/// A process under way.
pub(super) struct Following<'a> {
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

impl<'a> Following<'a> {
    pub(super) fn new(
        family: Family,
        step: StepIndex,
        messages: &'a mpsc::Sender<StepMessage>,
        control: &'a mut mpsc::UnboundedReceiver<Stop>,
    ) -> Self {
        Following {
            family,
            step,
            messages,
            control,
            collected: false,
            stopped: false,
            killed: None,
            asked: HashSet::new(),
            look: None,
        }
    }

    /// Whether it was asked to stop.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Hands over all that the process prints, until it ended. Also says whether another process still holds its
    /// output.
    pub(super) async fn finish(
        &mut self,
        status: oneshot::Receiver<End>,
        output: pipe::Receiver,
    ) -> (Option<End>, bool) {
        let (status, left) = self.follow(status, output).await;
        let leaked = left.is_some();
        if let Some(output) = left {
            self.name_holders(&output).await;
            tokio::spawn(discard(output));
        }
        (status, leaked)
    }

    /// Hands over all that the process prints, until it ended; when it was stopped, until all that it started
    /// ended. The pipe comes back when somebody else still holds it.
    async fn follow(
        &mut self,
        mut ended: oneshot::Receiver<End>,
        mut output: pipe::Receiver,
    ) -> (Option<End>, Option<pipe::Receiver>) {
        let mut pieces = Pieces::default();
        let mut status = None;
        // What the pipe still held when the process ended: that much is the step's, however long it takes to keep.
        let mut owed = 0;
        let mut patience: Option<Instant> = None;
        let mut open = true;
        let mut enlarged = false;
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
                        if read >= PIECE / 2 && !enlarged {
                            // A smaller one works, too: unprivileged users have a limit on the sum.
                            let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE_SIZE);
                            enlarged = true;
                        }
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
pub(super) async fn discard(mut output: pipe::Receiver) {
    let mut buffer = vec![0; 4096];
    while output.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// At this time, or never.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
