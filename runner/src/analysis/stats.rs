//! How builds went, counted.
//!
//! A step or a test is *flaky* in a build where it said no although nothing was wrong: it succeeded at a later attempt,
//! or another build of the same commit, without further changes, says yes. A test is flaky also where it failed and its
//! step passed all the same.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{
    brief::{Brief, StepBrief, TestBrief},
    event::Outcome,
};

/// A build to be counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// What was built.
    pub component: String,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// By a clock that never jumps.
    pub duration_ms: Option<u64>,
    /// The commit; `None` where the work tree differed from it, or it is not known.
    pub commit: Option<String>,
    /// What is known of its steps and tests.
    pub brief: Option<Brief>,
}

/// What builds came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How many.
    pub builds: u64,
    /// Those that have not ended.
    pub running: u64,
    /// How many ended so.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// From 0 to 1; of the builds that ended and were not cancelled. `None` without such a build.
    pub pass_rate: Option<f64>,
    /// Of those builds, in milliseconds.
    pub duration_ms: Option<Spread>,
    /// Those that ran, by component and name.
    pub steps: Vec<StepStats>,
    /// Those that failed somewhere, or were among the slowest of a build.
    pub tests: Vec<TestStats>,
}

/// How values are spread. Percentiles are values that occur: the nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// Half of them are not above it.
    pub p50: u64,
    /// Nine of ten are not above it.
    pub p90: u64,
    /// 99 of a hundred are not above it.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepStats {
    /// The component.
    pub component: String,
    /// The step's name.
    pub name: String,
    /// The builds that ran it.
    pub runs: u64,
    /// Those where it ended in a failure, an error or a timeout.
    pub failures: u64,
    /// Those where it was flaky.
    pub flaky: u64,
    /// Of all attempts together, in milliseconds.
    pub duration_ms: Option<Spread>,
}

/// What a test came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestStats {
    /// The component.
    pub component: String,
    /// The step that ran it.
    pub step: String,
    /// Its suite; may be empty.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// The builds where it failed in the end.
    pub failures: u64,
    /// Those where it was flaky.
    pub flaky: u64,
    /// Where it was among the slowest tests of its build, in milliseconds.
    pub duration_ms: Option<Spread>,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Some(Spread { min: at(0)?, p50: at(50)?, p90: at(90)?, p99: at(99)?, max: at(100)? })
    }
}

impl Stats {
    /// Of these builds, in any order.
    pub fn of(samples: &[Sample]) -> Self {
        let mut stats = Stats { builds: samples.len() as u64, ..Stats::default() };
        for sample in samples {
            match sample.outcome {
                Some(outcome) => *stats.outcomes.entry(outcome.as_str()).or_default() += 1,
                None => stats.running += 1,
            }
        }
        let counted =
            |sample: &&Sample| sample.outcome.is_some_and(|outcome| outcome != Outcome::Cancellation);
        let ended: Vec<_> = samples.iter().filter(counted).collect();
        let passed = ended.iter().filter(|sample| sample.outcome == Some(Outcome::Success)).count();
        stats.pass_rate = (!ended.is_empty()).then(|| passed as f64 / ended.len() as f64);
        stats.duration_ms = Spread::of(ended.iter().filter_map(|sample| sample.duration_ms).collect());
        let commits = Commits::of(samples);
        stats.steps = steps(samples, &commits);
        stats.tests = tests(samples, &commits);
        stats
    }
}

type StepKey<'s> = (&'s str, &'s str);
type TestKey<'s> = (&'s str, &'s str, &'s str, &'s str);

/// What the builds of one commit say of a step.
#[derive(Default)]
struct Verdicts<'s> {
    passed: bool,
    /// The builds of which is known which of the step's tests failed.
    tested: u64,
    /// In how many of those each test failed.
    failed: HashMap<(&'s str, &'s str), u64>,
}

/// By component, commit and step.
struct Commits<'s>(HashMap<(&'s str, &'s str, &'s str), Verdicts<'s>>);

impl<'s> Commits<'s> {
    fn of(samples: &'s [Sample]) -> Self {
        let mut commits: HashMap<_, Verdicts<'_>> = HashMap::new();
        for (sample, step) in ran(samples) {
            let Some(commit) = &sample.commit else { continue };
            let verdicts = commits.entry((sample.component.as_str(), commit.as_str(), step.name.as_str()));
            let verdicts = verdicts.or_default();
            verdicts.passed |= step.outcome == Some(Outcome::Success);
            if tells_of_tests(sample, step) {
                verdicts.tested += 1;
                for test in bad(sample).filter(|test| test.step == step.name) {
                    *verdicts.failed.entry((&test.suite, &test.name)).or_default() += 1;
                }
            }
        }
        Commits(commits)
    }

    fn of_step(&self, sample: &'s Sample, step: &'s str) -> Option<&Verdicts<'s>> {
        self.0.get(&(sample.component.as_str(), sample.commit.as_deref()?, step))
    }
}

/// Whether a test of this step that is not said to have failed did not.
fn tells_of_tests(sample: &Sample, step: &StepBrief) -> bool {
    let Some(tests) = sample.brief.as_ref().and_then(|brief| brief.tests.as_ref()) else { return false };
    let has_all = tests.bad.len() as u64 == tests.failure + tests.error;
    // A step that broke off may not have reported its tests.
    let reported =
        step.outcome == Some(Outcome::Success) || tests.bad.iter().any(|test| test.step == step.name);
    has_all && reported
}

fn steps(samples: &[Sample], commits: &Commits<'_>) -> Vec<StepStats> {
    let mut found: BTreeMap<StepKey<'_>, (StepStats, Vec<u64>)> = BTreeMap::new();
    for (sample, step) in ran(samples) {
        let (stats, durations) = found.entry((&sample.component, &step.name)).or_default();
        stats.runs += 1;
        durations.push(step.duration_ms);
        let failed = matches!(step.outcome, Some(Outcome::Failure | Outcome::Error | Outcome::Timeout));
        stats.failures += u64::from(failed);
        let elsewhere = || commits.of_step(sample, &step.name).is_some_and(|verdicts| verdicts.passed);
        stats.flaky += u64::from(step.flaky || (failed && elsewhere()));
    }
    let done = |((component, name), (stats, durations)): ((&str, &str), (StepStats, Vec<u64>))| StepStats {
        component: component.to_owned(),
        name: name.to_owned(),
        duration_ms: Spread::of(durations),
        ..stats
    };
    found.into_iter().map(done).collect()
}

fn key<'s>(sample: &'s Sample, test: &'s TestBrief) -> TestKey<'s> {
    (&sample.component, &test.step, &test.suite, &test.name)
}

fn tests(samples: &[Sample], commits: &Commits<'_>) -> Vec<TestStats> {
    let mut found: BTreeMap<TestKey<'_>, (TestStats, Vec<u64>)> = BTreeMap::new();
    for sample in samples {
        let Some((brief, tests)) =
            sample.brief.as_ref().and_then(|brief| Some((brief, brief.tests.as_ref()?)))
        else {
            continue;
        };
        for test in &tests.bad {
            let (stats, _) = found.entry(key(sample, test)).or_default();
            stats.failures += 1;
            let step = brief.steps.iter().find(|step| step.name == test.step);
            let passed = step.is_some_and(|step| step.outcome == Some(Outcome::Success));
            let elsewhere = || {
                let verdicts = commits.of_step(sample, &test.step);
                verdicts.is_some_and(|verdicts| {
                    let failed = verdicts.failed.get(&(test.suite.as_str(), test.name.as_str()));
                    failed.copied().unwrap_or_default() < verdicts.tested
                })
            };
            stats.flaky += u64::from(passed || elsewhere());
        }
        for test in &tests.flaky {
            found.entry(key(sample, test)).or_default().0.flaky += 1;
        }
        for test in &tests.slowest {
            found.entry(key(sample, test)).or_default().1.extend(test.duration_ms);
        }
    }
    let done =
        |((component, step, suite, name), (stats, durations)): (TestKey<'_>, (TestStats, Vec<u64>))| {
            TestStats {
                component: component.to_owned(),
                step: step.to_owned(),
                suite: suite.to_owned(),
                name: name.to_owned(),
                duration_ms: Spread::of(durations),
                ..stats
            }
        };
    found.into_iter().map(done).collect()
}

/// Each step that was run, with its build.
fn ran(samples: &[Sample]) -> impl Iterator<Item = (&Sample, &StepBrief)> {
    let steps = |sample| brief_steps(sample).iter().map(move |step| (sample, step));
    // One that is under way took no time yet.
    samples.iter().flat_map(steps).filter(|(_, step)| step.attempts > 0 && step.outcome.is_some())
}

fn brief_steps(sample: &Sample) -> &[StepBrief] {
    sample.brief.as_ref().map_or(&[], |brief| &brief.steps)
}

fn bad(sample: &Sample) -> impl Iterator<Item = &TestBrief> {
    sample.brief.iter().filter_map(|brief| brief.tests.as_ref()).flat_map(|tests| &tests.bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brief::TestsBrief;

    fn test(name: &str) -> TestBrief {
        let outcome = Some(Outcome::Failure);
        TestBrief { step: "test".into(), suite: "cart".into(), name: name.into(), outcome, duration_ms: None }
    }

    /// A build of one step, whose tests with these names failed.
    fn build(commit: Option<&str>, outcome: Outcome, bad: &[&str]) -> Sample {
        let step = StepBrief {
            name: "test".into(),
            outcome: Some(outcome),
            conclusion: Some(outcome),
            attempts: 1,
            flaky: false,
            duration_ms: 10,
        };
        let tests = TestsBrief {
            total: 9,
            failure: bad.len() as u64,
            bad: bad.iter().map(|name| test(name)).collect(),
            ..TestsBrief::default()
        };
        Sample {
            component: "shop".into(),
            outcome: Some(outcome),
            duration_ms: Some(10),
            commit: commit.map(Into::into),
            brief: Some(Brief { steps: vec![step], tests: Some(tests), ..Brief::default() }),
        }
    }

    /// Of each test: how often it failed, and was flaky.
    fn counts(samples: &[Sample]) -> Vec<(String, u64, u64)> {
        Stats::of(samples).tests.into_iter().map(|test| (test.name, test.failures, test.flaky)).collect()
    }

    #[test]
    fn percentiles_are_values_that_occur() {
        let spread = |values: &[u64]| {
            Spread::of(values.to_vec())
                .map(|spread| [spread.min, spread.p50, spread.p90, spread.p99, spread.max])
        };
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[7]), Some([7; 5]));
        assert_eq!(spread(&[4, 1]), Some([1, 1, 4, 4, 4]));
        assert_eq!(spread(&(1..=10).rev().collect::<Vec<_>>()), Some([1, 5, 9, 10, 10]));
        assert_eq!(spread(&(1..=1000).collect::<Vec<_>>()), Some([1, 500, 900, 990, 1000]));
    }

    #[test]
    fn what_runs_and_what_was_cancelled_says_nothing_of_the_rate() {
        let running = Sample { outcome: None, duration_ms: None, ..Sample::default() };
        let mut builds = vec![running, build(None, Outcome::Cancellation, &[])];
        assert_eq!(Stats::of(&builds).pass_rate, None);
        builds.extend(
            [Outcome::Success, Outcome::Success, Outcome::Success, Outcome::Timeout]
                .map(|outcome| build(None, outcome, &[])),
        );
        let stats = Stats::of(&builds);
        assert_eq!((stats.builds, stats.running, stats.pass_rate), (6, 1, Some(0.75)));
        assert_eq!(stats.outcomes, BTreeMap::from([("cancellation", 1), ("success", 3), ("timeout", 1)]));
    }

    #[test]
    fn a_step_is_flaky_where_it_passes_again() {
        let flaky = |samples: &[Sample]| {
            let steps = Stats::of(samples).steps;
            (steps[0].runs, steps[0].failures, steps[0].flaky)
        };
        let mut retried = build(None, Outcome::Success, &[]);
        retried.brief.as_mut().unwrap().steps[0].flaky = true;
        assert_eq!(flaky(&[retried]), (1, 0, 1));
        let (ok, bad) =
            (|commit| build(commit, Outcome::Success, &[]), |commit| build(commit, Outcome::Failure, &[]));
        assert_eq!(flaky(&[bad(Some("a")), ok(Some("a")), bad(Some("a"))]), (3, 2, 2));
        assert_eq!(flaky(&[bad(Some("a")), ok(Some("b"))]), (2, 1, 0), "another commit");
        assert_eq!(flaky(&[bad(None), ok(None)]), (2, 1, 0), "who knows what was built");
    }

    #[test]
    fn a_test_is_flaky_where_its_step_passes_or_another_build_of_the_commit_says_yes() {
        let name = |failures, flaky| vec![("adds".to_owned(), failures, flaky)];
        let a = Some("a");
        assert_eq!(counts(&[build(None, Outcome::Success, &["adds"])]), name(1, 1));
        assert_eq!(counts(&[build(a, Outcome::Failure, &["adds"])]), name(1, 0));
        let both = [build(a, Outcome::Failure, &["adds"]), build(a, Outcome::Success, &[])];
        assert_eq!(counts(&both), name(1, 1));
        let always = [build(a, Outcome::Failure, &["adds"]), build(a, Outcome::Failure, &["adds"])];
        assert_eq!(counts(&always), name(2, 0));
        let mut broken = build(a, Outcome::Error, &[]);
        assert_eq!(
            counts(&[build(a, Outcome::Failure, &["adds"]), broken.clone()]),
            name(1, 0),
            "not reported"
        );
        broken.brief.as_mut().unwrap().tests.as_mut().unwrap().flaky = vec![test("adds")];
        assert_eq!(counts(&[broken]), name(0, 1), "in an earlier attempt");
    }

    #[test]
    fn a_cut_list_of_failures_proves_nothing() {
        let mut cut = build(Some("a"), Outcome::Failure, &["removes"]);
        cut.brief.as_mut().unwrap().tests.as_mut().unwrap().failure = 500;
        let builds = [build(Some("a"), Outcome::Failure, &["adds", "removes"]), cut];
        assert_eq!(counts(&builds), [("adds".into(), 1, 0), ("removes".into(), 2, 0)]);
    }

    #[test]
    fn tests_are_as_slow_as_they_are_where_that_is_known() {
        let mut builds = [build(None, Outcome::Success, &[]), build(None, Outcome::Success, &[])];
        for (build, duration_ms) in builds.iter_mut().zip([Some(5), Some(9)]) {
            let tests = build.brief.as_mut().unwrap().tests.as_mut().unwrap();
            tests.slowest = vec![TestBrief { duration_ms, outcome: None, ..test("waits") }];
        }
        let tests = Stats::of(&builds).tests;
        assert_eq!(tests[0].duration_ms.map(|spread| (spread.p50, spread.max)), Some((5, 9)));
    }

    #[test]
    fn many_builds_of_one_commit_are_counted_soon() {
        let names: Vec<_> = (0..100).map(|at| format!("case {at}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let builds: Vec<_> = (0..2000).map(|_| build(Some("a"), Outcome::Failure, &names)).collect();
        let started = std::time::Instant::now();
        assert_eq!(Stats::of(&builds).tests.len(), 100);
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
}
