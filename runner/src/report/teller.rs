//! Tells a build to people: puts each event into words, and gives them to a screen.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use crate::{
    build::Build,
    engine::ports::Sink,
    event::{
        AttemptFinished, AttemptStarted, Body, BuildCancelling, BuildFinished, BuildStarted, Event, Outcome,
        StepFinished, StepLog, StepName, StepShell, UnixMs,
    },
    report::{Style, words},
    text,
};

/// Where a build is told. Lines are ours, whole, and harmless.
pub(crate) trait Screen: Send {
    /// The build has this many steps.
    fn build(&mut self, steps: usize) {
        let _ = steps;
    }

    /// Something about the build.
    fn say(&mut self, lines: &[String]);

    /// A step is not run.
    fn skipped(&mut self, lines: &[String]) {
        self.say(lines);
    }

    /// An attempt starts.
    fn started(&mut self, step: &StepName, at: UnixMs, start: &Started<'_>);

    /// The step printed this. It may drive a terminal, unless a plugin printed it.
    fn output(&mut self, step: &StepName, at: UnixMs, bytes: &[u8]);

    /// The step, or its plugin, has something to say that it did not print.
    fn remark(&mut self, step: &StepName, at: UnixMs, line: &str);

    /// The attempt ended, and another one follows.
    fn retried(&mut self, step: &StepName, at: UnixMs, lines: &[String]);

    /// The step, which ran, is decided.
    fn finished(&mut self, step: &StepName, at: UnixMs, end: &Finished<'_>);

    /// Somebody opens a shell in the place of a step, or has closed it.
    fn shell(&mut self, opens: bool, line: &str);

    /// The build's last line.
    fn close(&mut self, build: &Build, line: &str);

    /// Nothing else happens just now: show what is held back.
    fn idle(&mut self);
}

/// How an attempt starts.
pub(crate) struct Started<'a> {
    /// 1 for the first.
    pub(crate) attempt: u32,
    /// It is a plugin's.
    pub(crate) guest: bool,
    /// What is said about it.
    pub(crate) line: &'a str,
}

/// How a step ended.
pub(crate) struct Finished<'a> {
    /// What happened.
    pub(crate) outcome: Outcome,
    /// What counts.
    pub(crate) conclusion: Outcome,
    /// One sentence about it, where it went wrong.
    pub(crate) message: &'a str,
    /// All that is said about it.
    pub(crate) lines: &'a [String],
}

/// Tells a build on a screen.
pub(crate) struct Teller<S> {
    screen: S,
    style: Style,
    build: Build,
    /// Steps whose output comes from a plugin, which is not trusted with the terminal.
    guests: BTreeSet<StepName>,
    header_shown: bool,
}

impl<S: Screen> Teller<S> {
    pub(crate) fn new(screen: S, style: Style) -> Self {
        Teller { screen, style, build: Build::default(), guests: BTreeSet::new(), header_shown: false }
    }

    #[cfg(test)]
    pub(super) fn into_screen(self) -> S {
        self.screen
    }

    /// Number, id and image, once they are known; at the latest when the first step starts.
    fn header(&mut self) {
        if !std::mem::replace(&mut self.header_shown, true) {
            self.screen.say(&words::header(&self.build, self.style));
        }
    }

    fn build_started(&mut self, body: &BuildStarted) {
        let guests = body.steps.iter().filter(|step| !matches!(step.kind.as_str(), "shell" | "exec"));
        self.guests = guests.map(|step| Arc::from(step.name.as_str())).collect();
        self.screen.build(body.steps.len());
    }

    fn cancelling(&mut self, body: &BuildCancelling) {
        let line = words::cancelling(body);
        self.screen.say(&[self.style.warning(&line)]);
    }

    fn attempt_started(&mut self, step: &StepName, at: UnixMs, body: &AttemptStarted) {
        self.header();
        let line = words::started(step, body.attempt, self.style);
        let guest = self.guests.contains(step);
        self.screen.started(step, at, &Started { attempt: body.attempt, guest, line: &line });
    }

    fn output(&mut self, step: &StepName, at: UnixMs, bytes: &[u8]) {
        let bytes = if self.guests.contains(step) { text::harmless(bytes) } else { Cow::Borrowed(bytes) };
        self.screen.output(step, at, &bytes);
    }

    fn log(&mut self, step: &StepName, at: UnixMs, body: &StepLog) {
        if let Some(line) = words::log(body) {
            self.screen.remark(step, at, &self.style.dim(&line));
        }
    }

    /// The end of an attempt that is the last one is told with the step's.
    fn attempt_finished(&mut self, step: &StepName, at: UnixMs, body: &AttemptFinished) {
        if let Some(wait) = body.retry_in_ms {
            let mut lines = words::problem(body.problem.as_ref(), body.leaked, self.style);
            lines.push(words::retried(step, body, wait, self.style));
            self.screen.retried(step, at, &lines);
        }
    }

    fn step_finished(&mut self, name: &StepName, at: UnixMs, body: &StepFinished) {
        self.header();
        let Some(step) = self.build.step_named(name) else { return };
        let lines = words::finished(step, body, self.style);
        if body.outcome == Outcome::Skip {
            return self.screen.skipped(&lines);
        }
        let last = step.attempts.last();
        let problem = last.and_then(|attempt| attempt.problem.as_ref());
        let message = problem.map_or_else(
            || {
                let code = last.and_then(|attempt| attempt.exit_code);
                words::ended(body.outcome, code, last.and_then(|attempt| attempt.duration_ms))
            },
            |problem| text::harmless_line(&problem.message),
        );
        let mut told = words::problem(problem, last.is_some_and(|attempt| attempt.leaked), self.style);
        told.extend(lines);
        let (outcome, conclusion) = (body.outcome, body.conclusion);
        self.screen.finished(name, at, &Finished { outcome, conclusion, message: &message, lines: &told });
    }

    fn shell(&mut self, step: &StepName, body: &StepShell) {
        self.screen.shell(body.duration_ms.is_none(), &self.style.bold(&words::shell(step, body)));
    }

    fn build_finished(&mut self, body: &BuildFinished) {
        self.header();
        let line = words::build_finished(&self.build, body, self.style);
        self.screen.close(&self.build, &line);
    }
}

impl<S: Screen> Sink for Teller<S> {
    fn event(&mut self, event: &Event) {
        if let (Body::StepOutput(bytes), Some(step)) = (&event.body, &event.step) {
            return self.output(step, event.at, bytes);
        }
        self.build.apply(event);
        let step = &event.step.clone().unwrap_or_default();
        match &event.body {
            Body::BuildStarted(body) => self.build_started(body),
            Body::LockWaiting(body) => self.screen.say(&[words::lock_waiting(body)]),
            Body::LockAcquired(body) => self.screen.say(&[words::lock_acquired(body)]),
            Body::BuildCancelling(body) => self.cancelling(body),
            Body::AttemptStarted(body) => self.attempt_started(step, event.at, body),
            Body::StepLog(body) => self.log(step, event.at, body),
            Body::StepShell(body) => self.shell(step, body),
            Body::AttemptFinished(body) => self.attempt_finished(step, event.at, body),
            Body::StepFinished(body) => self.step_finished(step, event.at, body),
            Body::BuildFinished(body) => self.build_finished(body),
            // They are told with what they belong to.
            Body::BuildNumbered(_)
            | Body::BuildFacts(_)
            | Body::StepOutput(_)
            | Body::OutputPruned(_)
            | Body::PluginUsed(_)
            | Body::StepArtifacts(_)
            | Body::StepTests(_)
            | Body::Unknown { .. } => {}
        }
    }

    fn idle(&mut self) {
        self.screen.idle();
    }
}
