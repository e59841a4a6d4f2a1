//! What became of a build's steps so far, as plugins are told it: `facts.steps`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    engine::message::StepIndex,
    event::{Outcome, StepFinished, TestCase},
    text::clip,
};

/// How many failed tests, and how many flaky ones, are named of a step. All of them are counted.
const NAMED: usize = 1000;
/// How much of a failed test's message a plugin is told.
const MESSAGE: usize = 512;

/// The steps' results.
pub(super) struct Results(Vec<Result>);

#[derive(Default)]
struct Result {
    name: String,
    attempt: u32,
    /// None while it is not decided.
    decided: Option<Map<String, Value>>,
    tests: Option<Tests>,
    /// What failed in earlier attempts, by suite and name.
    failed_before: BTreeSet<(String, String)>,
}

/// What the tests of one attempt said.
#[derive(Default)]
struct Tests {
    counts: BTreeMap<&'static str, u64>,
    failures: Vec<(String, String, Option<String>)>,
    flaky: Vec<(String, String)>,
}

impl Results {
    /// Of steps with these names, of which nothing is known yet.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Results(names.map(|name| Result { name: name.to_owned(), ..Result::default() }).collect())
    }

    /// An attempt begins: what the tests of the last one said does not count any more.
    pub(super) fn started(&mut self, step: StepIndex, attempt: u32) {
        let result = &mut self.0[step];
        result.attempt = attempt;
        if let Some(tests) = result.tests.take() {
            result.failed_before.extend(tests.failures.into_iter().map(|(suite, name, _)| (suite, name)));
        }
    }

    /// Tests of the running attempt, or of the earlier build that this one takes up again.
    pub(super) fn tested(&mut self, step: StepIndex, cases: &[TestCase]) {
        let result = &mut self.0[step];
        let tests = result.tests.get_or_insert_default();
        for case in cases {
            tests.add(case, &result.failed_before);
        }
    }

    /// A step is decided. One that succeeded in the build that this one takes up again did so for plugins, too.
    pub(super) fn decided(&mut self, step: StepIndex, result: &StepFinished) {
        let succeeded_then = result.left_out && result.attempts > 0;
        let said = |outcome| if succeeded_then { Outcome::Success } else { outcome };
        let mut decided = Map::new();
        decided.insert("outcome".to_owned(), json!(said(result.outcome)));
        decided.insert("conclusion".to_owned(), json!(said(result.conclusion)));
        decided.insert("attempts".to_owned(), json!(result.attempts));
        decided.insert("flaky".to_owned(), json!(result.flaky || (succeeded_then && result.attempts > 1)));
        self.0[step].decided = Some(decided);
    }

    /// By step name, of those that are decided.
    pub(super) fn facts(&self) -> Value {
        let fact = |result: &Result| {
            let mut fact = result.decided.clone()?;
            if let Some(tests) = &result.tests {
                fact.insert("tests".to_owned(), tests.fact());
            }
            Some((result.name.clone(), Value::Object(fact)))
        };
        Value::Object(self.0.iter().filter_map(fact).collect())
    }
}

impl Tests {
    fn add(&mut self, case: &TestCase, failed_before: &BTreeSet<(String, String)>) {
        *self.counts.entry("total").or_default() += 1;
        let what = match case.outcome {
            Outcome::Success => "passed",
            Outcome::Skip => "skipped",
            Outcome::Failure | Outcome::Error | Outcome::Timeout | Outcome::Cancellation => "failed",
        };
        *self.counts.entry(what).or_default() += 1;
        let key = || (case.suite.clone(), case.name.clone());
        if what == "failed" && self.failures.len() < NAMED {
            let message = case.message.as_ref().map(|message| clip(message, MESSAGE).to_owned());
            self.failures.push((case.suite.clone(), case.name.clone(), message));
        }
        if what == "passed" && self.flaky.len() < NAMED && failed_before.contains(&key()) {
            self.flaky.push(key());
        }
    }

    fn fact(&self) -> Value {
        let count = |what| self.counts.get(what).copied().unwrap_or_default();
        let failure = |(suite, name, message): &(String, String, Option<String>)| json!({ "suite": suite, "name": name, "message": message.as_deref().unwrap_or_default() });
        let flaky = |(suite, name): &(String, String)| json!({ "suite": suite, "name": name });
        json!({
            "total": count("total"),
            "passed": count("passed"),
            "failed": count("failed"),
            "skipped": count("skipped"),
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "flaky": self.flaky.iter().map(flaky).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome) -> TestCase {
        let message = (outcome == Outcome::Failure).then(|| "left: 1".to_owned());
        TestCase { suite: "shop".into(), name: name.into(), outcome, duration_ms: None, message }
    }

    fn finished(outcome: Outcome, attempts: u32) -> StepFinished {
        StepFinished {
            outcome,
            conclusion: outcome,
            attempts,
            flaky: attempts > 1,
            reason: None,
            left_out: false,
            outputs: BTreeMap::new(),
            summary: None,
        }
    }

    #[test]
    fn the_last_attempt_counts_and_what_failed_before_is_flaky() {
        let mut results = Results::of(["test", "later"].into_iter());
        results.started(0, 1);
        results.tested(0, &[case("a", Outcome::Failure), case("b", Outcome::Failure)]);
        assert_eq!(results.facts(), json!({}), "nothing is decided");
        results.started(0, 2);
        results.tested(0, &[case("a", Outcome::Success), case("c", Outcome::Skip)]);
        results.tested(0, &[case("b", Outcome::Failure)]);
        results.decided(0, &finished(Outcome::Failure, 2));
        let facts = results.facts();
        assert_eq!(
            facts,
            json!({ "test": {
                "outcome": "failure", "conclusion": "failure", "attempts": 2, "flaky": true,
                "tests": {
                    "total": 3, "passed": 1, "failed": 1, "skipped": 1,
                    "failures": [{ "suite": "shop", "name": "b", "message": "left: 1" }],
                    "flaky": [{ "suite": "shop", "name": "a" }],
                },
            } })
        );
    }

    #[test]
    fn a_step_without_reports_has_no_tests() {
        let mut results = Results::of(["a", "b"].into_iter());
        results.decided(0, &finished(Outcome::Skip, 0));
        results.tested(1, &[case("a", Outcome::Success)]);
        results.decided(1, &StepFinished { left_out: true, ..finished(Outcome::Skip, 2) });
        let facts = results.facts();
        assert_eq!(
            facts["a"],
            json!({ "outcome": "skip", "conclusion": "skip", "attempts": 0, "flaky": false })
        );
        assert_eq!((&facts["b"]["outcome"], &facts["b"]["flaky"]), (&json!("success"), &json!(true)));
        assert_eq!(facts["b"]["tests"]["passed"], 1);
    }

    #[test]
    fn many_failures_are_counted_and_some_named() {
        let mut results = Results::of(["a"].into_iter());
        let cases: Vec<_> = (0..1500).map(|n| case(&n.to_string(), Outcome::Failure)).collect();
        results.tested(0, &cases);
        results.decided(0, &finished(Outcome::Failure, 1));
        let facts = results.facts();
        assert_eq!(facts["a"]["tests"]["failed"], 1500);
        assert_eq!(facts["a"]["tests"]["failures"].as_array().unwrap().len(), 1000);
    }
}
