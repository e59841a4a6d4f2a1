//! One attempt of a step: from its files, through its process or plugin, to what it made.

use tokio::sync::{mpsc, oneshot};

use crate::{
    engine::message::{StepContent, StepEnd, StepIndex, StepMessage, Stop},
    event::{Outcome, StepLog, StepShell},
    exec::{self, Ended, Processes, Program, shell},
    pipeline::{Command, Retry, Step},
    products::{self, Products, Wanted},
    text,
};

/// What an attempt is made of.
pub(super) struct Attempt {
    pub(super) step: StepIndex,
    /// 1 for the first try.
    pub(super) number: u32,
    pub(super) program: Program,
    pub(super) wanted: Wanted,
    /// A shell for when it fails.
    pub(super) shell: Option<Invitation>,
}

/// What is said to whom a shell opens for.
pub(super) struct Invitation {
    /// The step's name.
    pub(super) name: String,
    /// What it ran.
    pub(super) command: String,
    /// Whether there is another attempt first.
    pub(super) retry: Retry,
}

/// A running attempt's way to talk.
struct Line {
    step: StepIndex,
    messages: mpsc::Sender<StepMessage>,
    control: mpsc::UnboundedReceiver<Stop>,
}

impl Attempt {
    /// Runs it. All there is to say, its end last, goes to `messages`.
    pub(super) async fn run(
        self,
        processes: Processes,
        products: Products,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
    ) {
        let mut line = Line { step: self.step, messages, control };
        let end = self.end(&processes, &products, &mut line).await;
        line.say(StepContent::Finished(Box::new(end))).await;
    }

    async fn end(mut self, processes: &Processes, products: &Products, line: &mut Line) -> StepEnd {
        let mut handover = match products.begin(self.step, self.number, self.wanted.is_timed()) {
            Ok(handover) => handover,
            Err(problem) => return StepEnd::error(problem),
        };
        self.program.env.extend(handover.env());
        let Line { step, messages, control } = line;
        let Ended { mut end, stopped } = exec::run(processes, &self.program, *step, messages, control).await;
        for log in handover.take(&mut end) {
            line.say(StepContent::Log(log)).await;
        }
        let succeeded = end.outcome == Outcome::Success && !stopped;
        let Line { step, messages, control } = line;
        products::collect(self.wanted, &handover, succeeded, *step, messages, control).await;
        match self.shell {
            Some(invitation) if !stopped && invitation.is_for(end.outcome, self.number) => {
                invitation.open(processes, &self.program, line).await;
            }
            Some(_) | None => {}
        }
        end
    }
}

/// An attempt of a plugin whose files are looked for.
pub(super) struct Guest {
    pub(super) step: StepIndex,
    /// 1 for the first try.
    pub(super) number: u32,
    pub(super) wanted: Wanted,
}

impl Guest {
    /// Runs what `start` starts, and passes on all it says; before its end, what it made.
    pub(super) async fn run(
        self,
        products: Products,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
        start: impl FnOnce(mpsc::Sender<StepMessage>, mpsc::UnboundedReceiver<Stop>),
    ) {
        let mut line = Line { step: self.step, messages, control };
        let end = match products.begin(self.step, self.number, self.wanted.is_timed()) {
            Ok(handover) => {
                let (sender, said) = mpsc::channel(1);
                let (stops, orders) = mpsc::unbounded_channel();
                start(sender, orders);
                let Some((end, stopped)) = line.pass_on(said, &stops).await else { return };
                let succeeded = end.outcome == Outcome::Success && !stopped;
                let Line { step, messages, control } = &mut line;
                products::collect(self.wanted, &handover, succeeded, *step, messages, control).await;
                end
            }
            Err(problem) => Box::new(StepEnd::error(problem)),
        };
        line.say(StepContent::Finished(end)).await;
    }
}

impl Invitation {
    pub(super) fn new(step: &Step, command: &Command) -> Self {
        let command = match command {
            Command::Shell { script, .. } => script.clone(),
            Command::Exec(argv) => argv.join(" "),
        };
        Invitation { name: step.name.value.clone(), command, retry: step.retry.clone() }
    }

    /// Whether this end is the step's failure.
    fn is_for(&self, outcome: Outcome, attempt: u32) -> bool {
        let failed = matches!(outcome, Outcome::Failure | Outcome::Error);
        failed && (attempt >= self.retry.attempts || !self.retry.on.contains(&outcome))
    }

    /// Opens the shell when no other is open, and waits for its end.
    async fn open(self, processes: &Processes, failed: &Program, line: &mut Line) {
        line.say(StepContent::Held).await;
        let Some(_turn) = line.unless_stopped(processes.terminal()).await else { return };
        let directory = failed.directory.display().to_string();
        let Some(true) = line.shell(&directory, None).await else { return };
        let words = self.words(&directory);
        let program = shell::program(failed);
        let duration_ms = match shell::run(processes, &program, &words, &mut line.control).await {
            Ok(end) => u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX),
            Err(error) => {
                let message = format!("no shell can be opened: {error}");
                let log = StepLog { level: "warn".to_owned(), message, fields: Vec::new() };
                line.say(StepContent::Log(log)).await;
                0
            }
        };
        line.shell(&directory, Some(duration_ms)).await;
    }

    fn words(&self, directory: &str) -> String {
        let mut lines = self.command.trim().lines();
        let first = text::clip(lines.next().unwrap_or_default(), 120).to_owned();
        let more = if lines.next().is_some() { " …" } else { "" };
        format!(
            "\nA shell where step `{}` failed, with its environment.\n  directory  {directory}\n  command    \
             {first}{more}\nThe build goes on when you leave it: exit\n\n",
            self.name
        )
    }
}

impl Line {
    async fn say(&self, content: StepContent) {
        // The dispatcher is gone only when the build was given up.
        let _ = self.messages.send(StepMessage { step: self.step, content }).await;
    }

    /// Passes everything on but the end, which it gives back, with whether the step was to stop.
    async fn pass_on(
        &mut self,
        mut said: mpsc::Receiver<StepMessage>,
        stops: &mpsc::UnboundedSender<Stop>,
    ) -> Option<(Box<StepEnd>, bool)> {
        let mut stopped = false;
        let mut waiting = None;
        loop {
            tokio::select! {
                biased;
                Some(stop) = self.control.recv() => {
                    stopped = true;
                    // One that has just ended does not listen any more.
                    let _ = stops.send(stop);
                }
                permit = self.messages.reserve(), if waiting.is_some() => {
                    let (Ok(permit), Some(message)) = (permit, waiting.take()) else { return None };
                    permit.send(message);
                }
                message = said.recv(), if waiting.is_none() => match message? {
                    StepMessage { content: StepContent::Finished(end), .. } => return Some((end, stopped)),
                    message => waiting = Some(message),
                },
            }
        }
    }

    /// Waits, but not when the step is to stop.
    async fn unless_stopped<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            Some(_) = self.control.recv() => None,
            done = wait => Some(done),
        }
    }

    /// Says that a shell opens, or how long it was open. Whether that was shown, so that the terminal is free.
    async fn shell(&mut self, directory: &str, duration_ms: Option<u64>) -> Option<bool> {
        let (shown, seen) = oneshot::channel();
        let event = StepShell { directory: directory.to_owned(), duration_ms };
        self.say(StepContent::Shell { event, shown }).await;
        self.unless_stopped(async { seen.await.is_ok() }).await
    }
}
