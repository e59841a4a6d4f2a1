//! A build for people: what runs, what it prints, how it ended.

use std::{collections::BTreeSet, io::Write, sync::Arc};

use crate::{
    build::Build,
    engine::ports::Sink,
    event::{AttemptFinished, Body, BuildFinished, Event, Outcome, StepFinished, StepLog, StepName},
    facts::{Fact, Facts, Git},
    report::Style,
    text,
};

/// Writes events as text.
pub struct Human<W: Write + Send> {
    out: W,
    style: Style,
    build: Build,
    /// Steps whose output comes from a plugin, which is not trusted with the terminal.
    guests: BTreeSet<StepName>,
    header_shown: bool,
    /// The output so far ends within a line.
    mid_line: bool,
    /// Nobody reads any more: the build goes on, silently.
    closed: bool,
}

impl<W: Write + Send> Human<W> {
    /// Writes to `out`.
    pub fn new(out: W, style: Style) -> Self {
        Human {
            out,
            style,
            build: Build::default(),
            guests: BTreeSet::new(),
            header_shown: false,
            mid_line: false,
            closed: false,
        }
    }

    fn line(&mut self, line: &str) {
        let start = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
        self.write(format!("{start}{line}\n").as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.closed && self.out.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    /// Number, id and image, once they are known; at the latest when the first step starts.
    fn header(&mut self) {
        if std::mem::replace(&mut self.header_shown, true) {
            return;
        }
        let number = match self.build.number {
            Some(number) => format!("#{number}"),
            None => "(number pending)".to_owned(),
        };
        let title = self.style.bold(&text::harmless_line(&format!("{} {number}", self.build.component)));
        self.line(&format!("{title}  {}", self.build.id));
        let facts = std::mem::take(&mut self.build.facts);
        self.line(&format!("  image   {}", text::harmless_line(&image(&facts))));
        self.line(&format!("  commit  {}", text::harmless_line(&commit(&facts.git))));
    }

    fn output(&mut self, step: Option<&StepName>, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let guest = step.is_some_and(|step| self.guests.contains(step));
        if guest {
            let bytes = text::harmless(bytes).into_owned();
            self.write(&bytes);
        } else {
            self.write(bytes);
        }
        self.mid_line = *last != b'\n';
    }

    fn attempt_finished(&mut self, body: &AttemptFinished) {
        if let Some(problem) = &body.problem {
            self.line(&format!("  {}", text::harmless_line(&problem.message)));
            if let Some(help) = &problem.help {
                self.line(&format!("  {} {}", self.style.warning("help:"), text::harmless_line(help)));
            }
        }
        if body.leaked {
            self.line(&format!(
                "  {} the step left a process behind that holds its output; dcd ends it with the build",
                self.style.warning("note:")
            ));
        }
    }

    fn step_finished(&mut self, event: &Event, body: &StepFinished) {
        let name = event.step.as_deref().unwrap_or_default();
        if body.outcome == Outcome::Skip {
            let reason = body.reason.as_deref().unwrap_or("not needed");
            self.line(&self.style.dim(&format!("- {name}  skipped: {reason}")));
            return;
        }
        let attempt = self.build.step_named(name).and_then(|step| step.attempts.last());
        let took = text::millis(attempt.and_then(|attempt| attempt.duration_ms).unwrap_or_default());
        let code = attempt.and_then(|attempt| attempt.exit_code).filter(|code| *code != 0);
        let code = code.map_or_else(String::new, |code| format!(", exit code {code}"));
        let line = match (body.outcome, body.conclusion) {
            (Outcome::Success, _) => format!("{} {name}  {took}", self.style.good("ok")),
            (outcome, Outcome::Success) => {
                format!("{} {name}  {outcome}{code}, {took}; the build goes on", self.style.warning("!!"))
            }
            (outcome, _) => format!("{} {name}  {outcome}{code}, {took}", self.style.bad("!!")),
        };
        self.line(&line);
        if let Some(summary) = &body.summary {
            self.line(&format!("   {}", text::harmless_line(summary)));
        }
    }

    fn log(&mut self, log: &StepLog) {
        if matches!(log.level.as_str(), "trace" | "debug") {
            return;
        }
        let fields: String =
            log.fields.iter().map(|(key, value)| format!(" {key}={}", text::harmless_line(value))).collect();
        let line =
            format!("[{}] {}{}", log.level, text::harmless_line(&log.message), text::harmless_line(&fields));
        self.line(&self.style.dim(&line));
    }

    fn build_finished(&mut self, body: &BuildFinished) {
        let number = self.build.number.map_or_else(String::new, |number| format!(" #{number}"));
        let word = match body.outcome {
            Outcome::Success => self.style.good("success"),
            outcome => self.style.bad(outcome.as_str()),
        };
        let bad: Vec<_> =
            self.build.steps.iter().filter(|step| is_bad(step.conclusion)).map(|step| &*step.name).collect();
        let bad = if bad.is_empty() { String::new() } else { format!(": {}", bad.join(", ")) };
        let took = text::millis(body.duration_ms);
        self.line(&format!("{}{number}: {word} in {took}{bad}", self.build.component));
    }
}

fn is_bad(conclusion: Option<Outcome>) -> bool {
    conclusion.is_some_and(|conclusion| !matches!(conclusion, Outcome::Success | Outcome::Skip))
}

impl<W: Write + Send> Sink for Human<W> {
    fn event(&mut self, event: &Event) {
        if let Body::StepOutput(bytes) = &event.body {
            return self.output(event.step.as_ref(), bytes);
        }
        self.build.apply(event);
        match &event.body {
            Body::BuildStarted(body) => {
                let guests = body.steps.iter().filter(|step| !matches!(step.kind.as_str(), "shell" | "exec"));
                self.guests = guests.map(|step| Arc::from(step.name.as_str())).collect();
            }
            Body::BuildNumbered(_)
            | Body::BuildFacts(_)
            | Body::StepOutput(_)
            | Body::LockWaiting(_)
            | Body::LockAcquired(_)
            | Body::StepArtifacts(_)
            | Body::StepTests(_)
            | Body::StepShell(_)
            | Body::Unknown { .. } => {}
            Body::BuildCancelling(body) => {
                let name = body.signal.map_or_else(|| "out of time".to_owned(), signal_name);
                self.line(&self.style.warning(&format!("{name}: stopping; once more stops at once")));
            }
            Body::AttemptStarted(body) => {
                self.header();
                let again =
                    if body.attempt > 1 { format!(" (attempt {})", body.attempt) } else { String::new() };
                let name = event.step.as_deref().unwrap_or_default();
                self.line(&self.style.bold(&format!("> {name}{again}")));
            }
            Body::StepLog(log) => self.log(log),
            Body::AttemptFinished(body) => self.attempt_finished(body),
            Body::StepFinished(body) => {
                self.header();
                self.step_finished(event, body);
            }
            Body::BuildFinished(body) => {
                self.header();
                self.build_finished(body);
            }
        }
    }

    fn idle(&mut self) {
        if !self.closed && self.out.flush().is_err() {
            self.closed = true;
        }
    }
}

/// The image's digest, or why there is none.
pub(crate) fn image(facts: &Facts) -> String {
    match &facts.image {
        Fact::Known(image) => match &image.digest {
            Fact::Known(digest) => digest.clone(),
            Fact::Absent(reason) => format!("{} ({reason})", image.id),
            Fact::NotAsked => image.id.clone(),
        },
        Fact::Absent(reason) => format!("unknown: {reason}"),
        Fact::NotAsked => "not asked".to_owned(),
    }
}

/// The commit, the branch, and whether there is more than that.
pub(crate) fn commit(git: &Fact<Git>) -> String {
    let git = match git {
        Fact::Known(git) => git,
        Fact::Absent(reason) => return format!("none: {reason}"),
        Fact::NotAsked => return "not asked".to_owned(),
    };
    let branch = git.branch.known().map_or_else(String::new, |branch| format!(" on {branch}"));
    let dirty = if git.dirty.known() == Some(&true) { ", with changes that are not committed" } else { "" };
    match &git.commit {
        Fact::Known(commit) => format!("{commit}{branch}{dirty}"),
        Fact::Absent(reason) => format!("none{branch}{dirty}: {reason}"),
        Fact::NotAsked => "not asked".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}
