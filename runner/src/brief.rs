//! What lists and statistics need of a finished build, so that they need not read its events. A history backend keeps it
//! beside the build's record.

use std::{cmp::Reverse, collections::HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    build::{Build, Step},
    chain::Hash,
    event::{Outcome, TestCase},
};

/// How many tests that took long are named.
const SLOWEST: usize = 20;
/// How many tests that did not succeed are named.
const BAD: usize = 100;

/// A finished build in some kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brief {
    /// By a clock that never jumps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why, where the steps do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last event's hash, in lower-case hex: with it the build is whole and unchanged.
    pub hash: String,
    /// How much the steps printed, in bytes.
    pub output_bytes: u64,
    /// In the pipeline's order.
    pub steps: Vec<StepBrief>,
    /// What the tests came to, where steps reported some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestsBrief>,
}

/// A step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepBrief {
    /// Its name.
    pub name: String,
    /// What happened.
    pub outcome: Option<Outcome>,
    /// What counts.
    pub conclusion: Option<Outcome>,
    /// How many tries there were.
    pub attempts: u32,
    /// It succeeded, but not at the first attempt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// Of all attempts together.
    pub duration_ms: u64,
}

/// The tests of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestsBrief {
    /// How many there were.
    pub total: u64,
    /// How many said no.
    pub failure: u64,
    /// How many could not be run.
    pub error: u64,
    /// How many were not run.
    pub skip: u64,
    /// Those that failed, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<TestBrief>,
    /// Those that failed in an attempt of their step and not in its last one, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<TestBrief>,
    /// Those that took longest, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<TestBrief>,
}

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestBrief {
    /// The step that ran it.
    pub step: String,
    /// Its suite; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// Its name.
    pub name: String,
    /// How it ended; `None` for a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How long it took, where the report says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Brief {
    /// Of a build whose last event has this hash.
    pub fn of(build: &Build, hash: Hash) -> Self {
        let printed = |step: &Step| step.attempts.iter().map(|attempt| attempt.output_bytes).sum::<u64>();
        Brief {
            duration_ms: build.duration_ms,
            reason: build.reason.clone(),
            hash: hash.to_string(),
            output_bytes: build.steps.iter().map(printed).sum(),
            steps: build.steps.iter().map(StepBrief::of).collect(),
            tests: TestsBrief::of(&build.steps),
        }
    }
}

impl StepBrief {
    fn of(step: &Step) -> Self {
        StepBrief {
            name: step.name.clone(),
            outcome: step.outcome,
            conclusion: step.conclusion,
            attempts: u32::try_from(step.attempts.len()).unwrap_or(u32::MAX),
            flaky: step.flaky,
            duration_ms: step.attempts.iter().filter_map(|attempt| attempt.duration_ms).sum(),
        }
    }
}

impl TestsBrief {
    fn of(steps: &[Step]) -> Option<Self> {
        let mut all: Vec<_> =
            steps.iter().flat_map(|step| step.tests.iter().map(move |test| (step, test))).collect();
        let flaky: Vec<_> = steps.iter().flat_map(flaky).take(BAD).collect();
        if all.is_empty() && flaky.is_empty() {
            return None;
        }
        let count = |outcome| all.iter().filter(|(_, test)| test.outcome == outcome).count() as u64;
        let mut brief = TestsBrief {
            total: all.len() as u64,
            failure: count(Outcome::Failure),
            error: count(Outcome::Error),
            skip: count(Outcome::Skip),
            ..TestsBrief::default()
        };
        brief.flaky = flaky;
        let bad = all.iter().filter(|(_, test)| test.is_bad());
        brief.bad = bad.take(BAD).map(|(step, test)| TestBrief::of(step, test)).collect();
        all.retain(|(_, test)| test.duration_ms.is_some_and(|duration| duration > 0));
        all.sort_by_key(|(_, test)| Reverse(test.duration_ms));
        brief.slowest = all.iter().take(SLOWEST).map(|(step, test)| TestBrief::of(step, test)).collect();
        Some(brief)
    }
}

/// Each test once that failed in an earlier attempt, where the last one says otherwise.
fn flaky(step: &Step) -> impl Iterator<Item = TestBrief> {
    let name = |test: &TestCase| (test.suite.clone(), test.name.clone());
    let well: HashSet<_> = step.tests.iter().filter(|test| !test.is_bad()).map(name).collect();
    let mut seen = HashSet::new();
    let mut is_flaky = move |test: &&TestCase| well.contains(&name(test)) && seen.insert(name(test));
    step.failed_before.iter().filter(move |test| is_flaky(test)).map(|test| TestBrief::of(step, test))
}

impl TestBrief {
    fn of(step: &Step, test: &TestCase) -> Self {
        TestBrief {
            step: step.name.clone(),
            suite: test.suite.clone(),
            name: test.name.clone(),
            outcome: (test.outcome != Outcome::Success).then_some(test.outcome),
            duration_ms: test.duration_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Attempt;

    fn test(name: &str, outcome: Outcome, duration_ms: u64) -> TestCase {
        let (suite, message) = ("cart".to_owned(), Some("a long one".to_owned()));
        TestCase { suite, name: name.into(), outcome, duration_ms: Some(duration_ms), message }
    }

    #[test]
    fn a_build_is_said_in_short() {
        let attempt = |ms| Attempt { duration_ms: Some(ms), output_bytes: 10, ..Attempt::default() };
        let step = Step {
            name: "test".into(),
            outcome: Some(Outcome::Success),
            conclusion: Some(Outcome::Success),
            flaky: true,
            attempts: vec![attempt(5), attempt(7)],
            tests: vec![
                test("adds", Outcome::Success, 3),
                test("removes", Outcome::Failure, 9),
                test("waits", Outcome::Skip, 0),
            ],
            failed_before: vec![
                test("removes", Outcome::Failure, 1),
                test("adds", Outcome::Error, 1),
                test("adds", Outcome::Failure, 1),
            ],
            ..Step::default()
        };
        let build = Build { duration_ms: Some(20), steps: vec![step], ..Build::default() };
        let brief = Brief::of(&build, Hash([0xab; 32]));
        assert_eq!((brief.output_bytes, brief.hash.len()), (20, 64));
        let step = &brief.steps[0];
        assert_eq!((step.attempts, step.duration_ms, step.flaky), (2, 12, true));
        let tests = brief.tests.as_ref().unwrap();
        assert_eq!((tests.total, tests.failure, tests.skip), (3, 1, 1));
        let names = |tests: &[TestBrief]| tests.iter().map(|test| test.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&tests.bad), ["removes"]);
        assert_eq!(names(&tests.slowest), ["removes", "adds"]);
        assert_eq!(names(&tests.flaky), ["adds"]);
        let json = serde_json::to_string(&brief).unwrap();
        assert_eq!(serde_json::from_str::<Brief>(&json).unwrap(), brief);
    }

    #[test]
    fn many_tests_do_not_make_it_long() {
        let tests = (0..5000).map(|at| test(&format!("case {at}"), Outcome::Failure, at)).collect();
        let build = Build { steps: vec![Step { tests, ..Step::default() }], ..Build::default() };
        let tests = Brief::of(&build, Hash::default()).tests.unwrap();
        assert_eq!((tests.total, tests.failure, tests.bad.len()), (5000, 5000, 100));
        assert_eq!((tests.slowest.len(), tests.slowest[0].duration_ms), (20, Some(4999)));
    }
}
