//! A build, as its events add up to it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{
    chain::Hash,
    event::{
        Artifact, AttemptFinished, Body, BuildStarted, Event, Outcome, PluginUsed, Problem, StepPlan,
        TestCase, UnixMs,
    },
    facts::Facts,
};

/// What the reason of a build says whose runner vanished.
pub const RUNNER_LOST: &str = "runner lost";

/// The picture that a build's events give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    /// A UUID of version 7.
    pub id: String,
    /// `None` while the history backend has given none.
    pub number: Option<u64>,
    /// What was built.
    pub component: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Why, where the steps do not say it.
    pub reason: Option<String>,
    /// When it started.
    pub started_at: UnixMs,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<UnixMs>,
    /// When the newest event happened.
    pub last_event_at: UnixMs,
    /// By a clock that never jumps.
    pub duration_ms: Option<u64>,
    /// What was recorded of where it ran.
    pub facts: Facts,
    /// In the pipeline's order.
    pub steps: Vec<Step>,
    /// The id of the build that this one takes up again.
    pub retry_of: Option<String>,
    /// The newest event's.
    pub hash: Hash,
    /// What its steps printed was dropped.
    pub pruned: bool,
    /// What the plugins that do no step made use of, before its end.
    pub used: Vec<PluginUsed>,
    /// Where each step stands, by its name.
    pub(crate) places: HashMap<String, usize>,
}

/// A step of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `shell`, `exec`, or the plugin's name.
    pub kind: String,
    /// What happened; `None` while it is not decided.
    pub outcome: Option<Outcome>,
    /// What counts.
    pub conclusion: Option<Outcome>,
    /// Why it was not run.
    pub reason: Option<String>,
    /// It was not asked for, or had succeeded in the build that this one takes up again.
    pub left_out: bool,
    /// How many attempts there were then.
    pub kept_attempts: u32,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// Values that later steps can read.
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// Markdown.
    pub summary: Option<String>,
    /// It succeeded, but not at the first attempt.
    pub flaky: bool,
    /// How often somebody looked around where it failed.
    pub shells: u32,
    /// The steps that are decided before it.
    pub needs: Vec<String>,
    /// The files that its last attempt made.
    pub artifacts: Vec<Artifact>,
    /// What its test reports say, of the last attempt.
    pub tests: Vec<TestCase>,
    /// The tests that did not succeed in an attempt before it.
    pub failed_before: Vec<TestCase>,
}

/// One try of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attempt {
    /// 1 for the first.
    pub attempt: u32,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    /// The process's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// When it started.
    pub started_at: UnixMs,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// By a clock that never jumps.
    pub duration_ms: Option<u64>,
    /// What was wrong.
    pub problem: Option<Problem>,
    /// A process that it left behind still held its output.
    pub leaked: bool,
    /// How many bytes it printed.
    pub output_bytes: u64,
    /// What its plugin made use of.
    pub used: Option<PluginUsed>,
}

impl Build {
    /// Adds what an event says.
    pub fn apply(&mut self, event: &Event) {
        self.last_event_at = event.at;
        self.hash = event.hash;
        match &event.body {
            Body::BuildStarted(body) => self.started(body, event.at),
            Body::BuildNumbered(body) => self.number = Some(body.number),
            Body::BuildFacts(facts) => self.facts = (**facts).clone(),
            Body::BuildFinished(body) => {
                self.outcome = Some(body.outcome);
                self.reason.clone_from(&body.reason);
                self.finished_at = Some(event.at);
                self.duration_ms = Some(body.duration_ms);
                // A build can end before its first step.
                for step in self.steps.iter_mut().filter(|step| step.outcome.is_none()) {
                    step.outcome = Some(Outcome::Skip);
                    step.conclusion = Some(Outcome::Skip);
                    step.reason.clone_from(&body.reason);
                }
            }
            Body::AttemptStarted(body) => {
                if let Some(step) = self.step(event) {
                    let failed = step.tests.drain(..).filter(TestCase::is_bad);
                    step.failed_before.extend(failed);
                    step.artifacts.clear();
                    step.attempts.push(Attempt {
                        attempt: body.attempt,
                        started_at: event.at,
                        ..Attempt::default()
                    });
                }
            }
            Body::StepOutput(bytes) => {
                self.count_output(event.step.as_deref().unwrap_or_default(), event.at, bytes.len() as u64);
            }
            Body::OutputPruned(body) => {
                self.pruned = true;
                self.count_output(event.step.as_deref().unwrap_or_default(), event.at, body.bytes);
            }
            Body::AttemptFinished(body) => {
                if let Some(attempt) = self.step(event).and_then(|step| step.attempts.last_mut()) {
                    attempt.finish(body, event.at);
                }
            }
            Body::StepFinished(body) => {
                if let Some(step) = self.step(event) {
                    step.outcome = Some(body.outcome);
                    step.conclusion = Some(body.conclusion);
                    step.reason.clone_from(&body.reason);
                    step.outputs.clone_from(&body.outputs);
                    step.summary.clone_from(&body.summary);
                    step.flaky = body.flaky;
                    step.left_out = body.left_out;
                    step.kept_attempts = if body.left_out { body.attempts } else { 0 };
                }
            }
            Body::PluginUsed(body) if event.step.is_none() => self.used.push(body.clone()),
            Body::PluginUsed(body) => {
                if let Some(attempt) = self.step(event).and_then(|step| step.attempts.last_mut()) {
                    attempt.used = Some(body.clone());
                }
            }
            Body::StepArtifacts(body) => {
                if let Some(step) = self.step(event) {
                    step.artifacts.extend(body.artifacts.iter().cloned());
                }
            }
            Body::StepTests(body) => {
                if let Some(step) = self.step(event) {
                    step.tests.extend(body.cases.iter().cloned());
                }
            }
            Body::StepShell(body) => {
                if let (None, Some(step)) = (body.duration_ms, self.step(event)) {
                    step.shells += 1;
                }
            }
            Body::LockWaiting(_)
            | Body::LockAcquired(_)
            | Body::BuildCancelling(_)
            | Body::StepLog(_)
            | Body::Unknown { .. } => {}
        }
    }

    fn started(&mut self, body: &BuildStarted, at: UnixMs) {
        self.id.clone_from(&body.id);
        self.component.clone_from(&body.component);
        self.pipeline.clone_from(&body.pipeline);
        self.started_at = at;
        self.retry_of.clone_from(&body.retry_of);
        let step = |plan: &StepPlan| Step {
            name: plan.name.clone(),
            kind: plan.kind.clone(),
            needs: plan.needs.clone(),
            ..Step::default()
        };
        self.steps = body.steps.iter().map(step).collect();
        self.places = body.steps.iter().map(|plan| plan.name.clone()).zip(0..).collect();
    }

    /// Adds output of which only the length is known.
    pub fn count_output(&mut self, step: &str, at: UnixMs, bytes: u64) {
        self.last_event_at = at;
        if let Some(attempt) = self.step_mut(step).and_then(|step| step.attempts.last_mut()) {
            attempt.output_bytes += bytes;
        }
    }

    /// What is true of a build that has no end but whose runner is gone: it ended in an error, and so did what
    /// it was just doing.
    pub fn mark_lost(&mut self) {
        self.outcome = Some(Outcome::Error);
        self.reason = Some(RUNNER_LOST.to_owned());
        for step in &mut self.steps {
            if step.outcome.is_some() {
                continue;
            }
            let began = !step.attempts.is_empty();
            let outcome = if began { Outcome::Error } else { Outcome::Skip };
            step.outcome = Some(outcome);
            step.conclusion = Some(outcome);
            step.reason = Some(RUNNER_LOST.to_owned());
            if let Some(attempt) = step.attempts.last_mut() {
                attempt.outcome.get_or_insert(Outcome::Error);
                attempt.duration_ms.get_or_insert(self.last_event_at.saturating_sub(attempt.started_at));
            }
        }
    }

    /// HEAD's commit, if it was found.
    pub fn commit(&self) -> Option<&str> {
        self.facts.git.known()?.commit.known().map(String::as_str)
    }

    /// The step of that name.
    pub fn step_named(&self, name: &str) -> Option<&Step> {
        self.places.get(name).and_then(|place| self.steps.get(*place))
    }

    fn step(&mut self, event: &Event) -> Option<&mut Step> {
        self.step_mut(event.step.as_deref()?)
    }

    fn step_mut(&mut self, name: &str) -> Option<&mut Step> {
        self.places.get(name).and_then(|place| self.steps.get_mut(*place))
    }
}

impl Attempt {
    fn finish(&mut self, body: &AttemptFinished, at: UnixMs) {
        self.outcome = Some(body.outcome);
        self.exit_code = body.exit_code;
        self.signal = body.signal;
        self.finished_at = Some(at);
        self.duration_ms = Some(body.duration_ms);
        self.problem.clone_from(&body.problem);
        self.leaked = body.leaked;
    }
}
