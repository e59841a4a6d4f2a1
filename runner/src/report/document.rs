//! Builds as JSON documents: the public shape, described in `docs/history.md`.

use serde_json::{Value, json};

use crate::{
    build::{Attempt, Build, RUNNER_LOST, Step},
    engine::ports::backend::{Listed, Metadata},
    event::{Outcome, TestCase, UnixMs},
    text::rfc3339,
};

/// A build in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its number, once it has one.
    pub number: Option<u64>,
    /// What was built.
    pub component: String,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Why, where the steps do not say it.
    pub reason: Option<String>,
    /// When it started.
    pub started_at: UnixMs,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// The pipeline, and what was built by whom.
    pub metadata: Metadata,
    /// The steps' names, as far as they are known.
    pub steps: Vec<String>,
    /// What its steps printed was dropped.
    pub pruned: bool,
}

impl Summary {
    /// Of a build whose events were read.
    pub fn of(build: &Build) -> Self {
        Summary {
            id: build.id.clone(),
            number: build.number,
            component: build.component.clone(),
            outcome: build.outcome,
            reason: build.reason.clone(),
            started_at: build.started_at,
            finished_at: build.finished_at,
            duration_ms: build.duration_ms,
            metadata: Metadata::new(&build.pipeline, &build.facts),
            steps: build.steps.iter().map(|step| step.name.clone()).collect(),
            pruned: build.pruned,
        }
    }

    /// Of a build that a history backend lists.
    pub fn listed(listed: Listed) -> Self {
        let (lost, brief) = (listed.lost, listed.brief.unwrap_or_default());
        Summary {
            id: listed.id,
            number: Some(listed.number),
            component: listed.component,
            outcome: if lost { Some(Outcome::Error) } else { listed.outcome },
            reason: if lost { Some(RUNNER_LOST.to_owned()) } else { brief.reason },
            started_at: listed.started_at,
            finished_at: listed.finished_at,
            duration_ms: brief.duration_ms,
            metadata: listed.metadata,
            steps: brief.steps.into_iter().map(|step| step.name).collect(),
            pruned: listed.pruned,
        }
    }

    /// The element of `dcd history list --json`.
    pub fn document(&self) -> Value {
        let metadata = &self.metadata;
        json!({
            "id": self.id,
            "number": self.number,
            "component": self.component,
            "pipeline": metadata.pipeline,
            "outcome": self.outcome,
            "reason": self.reason,
            "started_at": rfc3339(self.started_at),
            "finished_at": self.finished_at.map(rfc3339),
            "duration_ms": self.duration_ms,
            "commit": metadata.commit,
            "branch": metadata.branch,
            "dirty": metadata.dirty,
            "image_digest": metadata.image_digest,
            "user": metadata.user,
            "pruned": self.pruned,
        })
    }
}

/// The object of `dcd history show --json`.
pub fn document(build: &Build) -> Value {
    let mut document = Summary::of(build).document();
    document["retry_of"] = json!(build.retry_of);
    document["hash"] = json!(build.hash.to_string());
    document["facts"] = json!(build.facts);
    document["used"] = json!(build.used);
    document["steps"] = build.steps.iter().map(step).collect();
    document
}

fn step(step: &Step) -> Value {
    json!({
        "name": step.name,
        "type": step.kind,
        "needs": step.needs,
        "outcome": step.outcome,
        "conclusion": step.conclusion,
        "flaky": step.flaky,
        "shells": step.shells,
        "reason": step.reason,
        "summary": step.summary,
        "outputs": step.outputs,
        "artifacts": step.artifacts,
        "tests": tests(&step.tests),
        "attempts": step.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

/// The counts, and every case; null where the step reported none.
fn tests(cases: &[TestCase]) -> Value {
    if cases.is_empty() {
        return Value::Null;
    }
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    let case = |case: &TestCase| {
        json!({
            "suite": case.suite,
            "name": case.name,
            "outcome": case.outcome,
            "duration_ms": case.duration_ms,
            "message": case.message,
        })
    };
    json!({
        "total": cases.len(),
        "success": count(Outcome::Success),
        "failure": count(Outcome::Failure),
        "error": count(Outcome::Error),
        "skip": count(Outcome::Skip),
        "cases": cases.iter().map(case).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "started_at": rfc3339(attempt.started_at),
        "finished_at": attempt.finished_at.map(rfc3339),
        "duration_ms": attempt.duration_ms,
        "problem": attempt.problem,
        "leaked": attempt.leaked,
        "output_bytes": attempt.output_bytes,
        "used": attempt.used,
    })
}
