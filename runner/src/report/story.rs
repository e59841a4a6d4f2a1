//! Hand-made builds, for the tests of each mode.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    chain::Hash,
    engine::ports::Sink,
    event::{
        Artifact, AttemptFinished, AttemptStarted, Body, BuildCancelling, BuildFinished, BuildNumbered,
        BuildStarted, Event, Outcome, Problem, StepArtifacts, StepFinished, StepLog, StepName, StepPlan,
        StepShell, StepTests, TestCase, UnixMs,
    },
};

/// 22:13:20 UTC.
const START: UnixMs = 1_700_000_000_000;

/// Makes a build's events, a second apart.
pub(super) struct Story {
    pub(super) events: Vec<Event>,
}

impl Story {
    /// A build of these steps; those that begin with `@` are a plugin's.
    pub(super) fn new(steps: &[&str]) -> Self {
        let plan = |name: &&str| StepPlan {
            name: name.trim_start_matches('@').to_owned(),
            kind: if name.starts_with('@') { "http".into() } else { "shell".into() },
            needs: vec!["base".into()],
        };
        let started = BuildStarted {
            version: 1,
            id: "01a203e2".into(),
            component: "shop".into(),
            pipeline: "dcd".into(),
            steps: steps.iter().map(plan).collect(),
            retry_of: Some("01a203e1".into()),
        };
        Story { events: Vec::new() }
            .add("", Body::BuildStarted(started))
            .add("", Body::BuildNumbered(BuildNumbered { number: 7, by: "journal".into() }))
    }

    pub(super) fn add(mut self, step: &str, body: Body) -> Self {
        let seq = self.events.len() as u64;
        let step = (!step.is_empty()).then(|| StepName::from(step));
        self.events.push(Event { seq, at: START + seq * 1000, step, body, hash: Hash::default() });
        self
    }

    pub(super) fn start(self, step: &str, attempt: u32) -> Self {
        self.add(step, Body::AttemptStarted(AttemptStarted { attempt }))
    }

    pub(super) fn print(self, step: &str, text: &'static str) -> Self {
        self.add(step, Body::StepOutput(Bytes::from_static(text.as_bytes())))
    }

    pub(super) fn attempt(
        self,
        step: &str,
        outcome: Outcome,
        change: impl FnOnce(&mut AttemptFinished),
    ) -> Self {
        let mut body = AttemptFinished {
            attempt: 1,
            outcome,
            exit_code: Some(i32::from(outcome != Outcome::Success)),
            signal: None,
            duration_ms: 1200,
            problem: None,
            leaked: false,
            retry_in_ms: None,
        };
        change(&mut body);
        self.add(step, Body::AttemptFinished(body))
    }

    pub(super) fn finish(self, step: &str, outcome: Outcome, change: impl FnOnce(&mut StepFinished)) -> Self {
        let mut body = StepFinished {
            outcome,
            conclusion: outcome,
            attempts: 1,
            flaky: false,
            reason: None,
            left_out: false,
            outputs: BTreeMap::new(),
            summary: None,
        };
        change(&mut body);
        self.add(step, Body::StepFinished(body))
    }

    /// Both ends of a step that says nothing about its own.
    pub(super) fn end(self, step: &str, outcome: Outcome) -> Self {
        self.attempt(step, outcome, |_| {}).finish(step, outcome, |_| {})
    }

    pub(super) fn close(self, outcome: Outcome) -> Self {
        let body = BuildFinished { outcome, duration_ms: 4000, reason: None, signal: None };
        self.add("", Body::BuildFinished(body))
    }

    pub(super) fn tell(&self, sink: &mut impl Sink) {
        for event in &self.events {
            sink.event(event);
        }
        sink.idle();
    }
}

/// Two steps at the same time, one of which fails at first.
pub(super) fn parallel() -> Story {
    Story::new(&["test", "lint"])
        .start("test", 1)
        .start("lint", 1)
        .print("test", "one\ntw")
        .print("lint", "checked\n")
        .print("test", "o\nthree")
        .attempt("test", Outcome::Failure, |body| body.retry_in_ms = Some(5000))
        .start("test", 2)
        .print("test", "again\n")
        .end("lint", Outcome::Success)
        .add("test", Body::StepTests(tests()))
        .add("test", Body::StepArtifacts(StepArtifacts { artifacts: vec![artifact("dist/a.tar")] }))
        .attempt("test", Outcome::Success, |body| body.attempt = 2)
        .finish("test", Outcome::Success, |body| {
            body.attempts = 2;
            body.flaky = true;
            body.summary = Some("## Tested\nAll of it.".into());
        })
        .close(Outcome::Success)
}

pub(super) fn artifact(path: &str) -> Artifact {
    Artifact { path: path.into(), size: 1234, sha256: "ab".repeat(32) }
}

pub(super) fn tests() -> StepTests {
    let case = |name: &str, outcome, message: Option<&str>| TestCase {
        suite: "unit".into(),
        name: name.into(),
        outcome,
        duration_ms: Some(10),
        message: message.map(str::to_owned),
    };
    StepTests {
        report: "report.xml".into(),
        cases: vec![
            case("adds", Outcome::Success, None),
            case("divides", Outcome::Failure, Some("1 / 0\nat math.rs:3")),
            case("rounds", Outcome::Skip, None),
        ],
    }
}

/// A failure, a plugin that is not to be trusted, a step that is skipped.
pub(super) fn failing() -> Story {
    let log = StepLog {
        level: "warn".into(),
        message: "odd\x1b[2J".into(),
        fields: vec![("code".into(), "7".into())],
    };
    Story::new(&["test", "@post", "ship"])
        .start("test", 1)
        .print("test", "\x1b[31mno\x1b[0m\nbad")
        .attempt("test", Outcome::Failure, |body| body.exit_code = Some(7))
        .finish("test", Outcome::Failure, |body| body.conclusion = Outcome::Success)
        .start("post", 1)
        .add("post", Body::StepLog(log))
        .print("post", "\x1b[2Jsent\n")
        .attempt("post", Outcome::Error, |body| {
            body.exit_code = None;
            body.problem = Some(Problem::new("it trapped", "ask its author"));
        })
        .finish("post", Outcome::Error, |_| {})
        .finish("ship", Outcome::Skip, |body| body.reason = Some("step `post` ended in error".into()))
        .close(Outcome::Error)
}

/// A build that somebody stops, with a shell opened in between.
pub(super) fn stopped() -> Story {
    let shell = |duration_ms| Body::StepShell(StepShell { directory: "/work".into(), duration_ms });
    Story::new(&["a"])
        .start("a", 1)
        .print("a", "half")
        .add("a", shell(None))
        .add("a", shell(Some(9000)))
        .add("", Body::BuildCancelling(BuildCancelling { signal: Some(2), reason: None }))
        .end("a", Outcome::Cancellation)
        .close(Outcome::Cancellation)
}
