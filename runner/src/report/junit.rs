//! A build as `JUnit` XML, after <https://github.com/testmoapp/junitxml>: a test suite for each step, which holds
//! the step itself as a test case, and the tests that it reported.

use std::{collections::BTreeMap, io, time::Duration};

use quick_junit::{NonSuccessKind, Property, Report, TestRerun, TestSuite, XmlString};

use crate::{
    build::{Attempt, Build, Step},
    event::{self, Body, Event, Outcome, StepName, UnixMs},
    report::{tail::Tail, words},
    text::rfc3339,
};

/// How much output of each attempt is in the report: test reports are read as a whole.
const OUTPUT: usize = 64 << 10;

/// Collects what a build's attempts printed; the rest is known at its end.
#[derive(Default)]
pub struct Junit {
    /// By step, for each attempt.
    outputs: BTreeMap<StepName, Vec<Tail>>,
}

impl Junit {
    /// Adds what a step printed.
    pub fn event(&mut self, event: &Event) {
        let Some(step) = &event.step else { return };
        match &event.body {
            Body::AttemptStarted(_) => self.outputs.entry(step.clone()).or_default().push(Tail::of(OUTPUT)),
            Body::StepOutput(bytes) => {
                if let Some(tail) = self.outputs.get_mut(step).and_then(|tails| tails.last_mut()) {
                    tail.push(bytes);
                }
            }
            Body::AttemptFinished(_) => {
                // What is not printed any more needs no room to grow.
                if let Some(tail) = self.outputs.get_mut(step).and_then(|tails| tails.last_mut()) {
                    tail.shrink();
                }
            }
            Body::BuildStarted(_)
            | Body::BuildNumbered(_)
            | Body::BuildFacts(_)
            | Body::LockWaiting(_)
            | Body::LockAcquired(_)
            | Body::BuildCancelling(_)
            | Body::BuildFinished(_)
            | Body::OutputPruned(_)
            | Body::StepLog(_)
            | Body::PluginUsed(_)
            | Body::StepArtifacts(_)
            | Body::StepTests(_)
            | Body::StepShell(_)
            | Body::StepFinished(_)
            | Body::Unknown { .. } => {}
        }
    }

    /// The XML.
    pub fn finish(&self, build: &Build) -> io::Result<String> {
        let mut report = Report::new(&build.component);
        report.timestamp = timestamp(build.started_at);
        report.time = build.duration_ms.map(Duration::from_millis);
        for step in &build.steps {
            report.add_test_suite(self.suite(build, step));
        }
        report.to_string().map_err(io::Error::other)
    }

    fn suite(&self, build: &Build, step: &Step) -> TestSuite {
        let mut suite = TestSuite::new(&step.name);
        suite.timestamp = step.attempts.first().and_then(|attempt| timestamp(attempt.started_at));
        let took: u64 = step.attempts.iter().filter_map(|attempt| attempt.duration_ms).sum();
        suite.set_time(Duration::from_millis(took));
        suite.add_property(Property::new("build", &build.id));
        if let Some(number) = build.number {
            suite.add_property(Property::new("number", number.to_string()));
        }
        if let Some(conclusion) = step.conclusion {
            suite.add_property(Property::new("conclusion", conclusion.as_str()));
        }
        suite.add_test_case(self.step(build, step));
        suite.add_test_cases(step.tests.iter().map(test));
        suite
    }

    /// The step as a test case: its last attempt, and those before it as reruns.
    fn step(&self, build: &Build, step: &Step) -> quick_junit::TestCase {
        let outcome = step.outcome.unwrap_or(Outcome::Error);
        let (last, earlier) = match step.attempts.split_last() {
            Some((last, earlier)) => (Some(last), earlier),
            None => (None, &[][..]),
        };
        let mut status = status(outcome);
        let reason = step.reason.clone().or_else(|| last.and_then(said));
        status.set_type(outcome.as_str());
        if let Some(reason) = reason {
            status.set_message(reason);
        }
        status
            .add_reruns(earlier.iter().enumerate().map(|(index, attempt)| self.rerun(step, index, attempt)));
        let mut case = quick_junit::TestCase::new(&step.name, status);
        case.set_classname(&build.pipeline);
        case.timestamp = last.and_then(|attempt| timestamp(attempt.started_at));
        case.time = last.and_then(|attempt| attempt.duration_ms).map(Duration::from_millis);
        case.system_out = self.output(step, step.attempts.len().saturating_sub(1));
        case
    }

    fn rerun(&self, step: &Step, index: usize, attempt: &Attempt) -> TestRerun {
        let outcome = attempt.outcome.unwrap_or(Outcome::Error);
        let mut rerun = TestRerun::new(kind(outcome));
        rerun.set_type(outcome.as_str());
        if let Some(said) = said(attempt) {
            rerun.set_message(said);
        }
        rerun.timestamp = timestamp(attempt.started_at);
        rerun.time = attempt.duration_ms.map(Duration::from_millis);
        rerun.system_out = self.output(step, index);
        rerun
    }

    fn output(&self, step: &Step, attempt: usize) -> Option<XmlString> {
        let (end, whole) = self.outputs.get(step.name.as_str())?.get(attempt)?.end();
        let cut = if whole { "" } else { "(only the end of it)\n" };
        (!end.is_empty()).then(|| XmlString::new(format!("{cut}{}", String::from_utf8_lossy(end))))
    }
}

/// A test that a step reported.
fn test(case: &event::TestCase) -> quick_junit::TestCase {
    let mut status = status(case.outcome);
    if let Some(message) = &case.message {
        status.set_message(message.lines().next().unwrap_or_default());
        status.set_description(message);
    }
    let mut test = quick_junit::TestCase::new(&case.name, status);
    if !case.suite.is_empty() {
        test.set_classname(&case.suite);
    }
    test.time = case.duration_ms.map(Duration::from_millis);
    test
}

fn status(outcome: Outcome) -> quick_junit::TestCaseStatus {
    match outcome {
        Outcome::Success => quick_junit::TestCaseStatus::success(),
        Outcome::Skip => quick_junit::TestCaseStatus::skipped(),
        bad => quick_junit::TestCaseStatus::non_success(kind(bad)),
    }
}

/// The work said no, or it could not be asked.
fn kind(outcome: Outcome) -> NonSuccessKind {
    match outcome {
        Outcome::Error | Outcome::Cancellation => NonSuccessKind::Error,
        Outcome::Failure | Outcome::Timeout | Outcome::Success | Outcome::Skip => NonSuccessKind::Failure,
    }
}

fn said(attempt: &Attempt) -> Option<String> {
    let problem = attempt.problem.as_ref().map(|problem| problem.message.clone());
    let outcome = attempt.outcome.filter(|outcome| words::is_bad(*outcome));
    problem.or_else(|| Some(words::ended(outcome?, attempt.exit_code, attempt.duration_ms)))
}

/// Whatever type the library has for it.
fn timestamp<T: std::str::FromStr>(at: UnixMs) -> Option<T> {
    rfc3339(at).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::story::{Story, failing, parallel};

    fn report(story: &Story) -> String {
        let (mut build, mut junit) = (Build::default(), Junit::default());
        for event in &story.events {
            build.apply(event);
            junit.event(event);
        }
        junit.finish(&build).unwrap()
    }

    #[test]
    fn a_report_has_a_suite_for_each_step() {
        insta::assert_snapshot!(report(&parallel()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="shop" tests="5" skipped="1" failures="1" errors="0" timestamp="2023-11-14T22:13:20.000+00:00" time="4.000">
            <testsuite name="test" tests="4" skipped="1" errors="0" failures="1" timestamp="2023-11-14T22:13:22.000+00:00" time="2.400">
                <properties>
                    <property name="build" value="01a203e2"/>
                    <property name="number" value="7"/>
                    <property name="conclusion" value="success"/>
                </properties>
                <testcase name="test" classname="dcd" timestamp="2023-11-14T22:13:28.000+00:00" time="1.200">
                    <flakyFailure timestamp="2023-11-14T22:13:22.000+00:00" time="1.200" message="failure, exit code 1, 1.2s" type="failure">
                        <system-out>one
        two
        three</system-out>
                    </flakyFailure>
                    <system-out>again
        </system-out>
                </testcase>
                <testcase name="adds" classname="unit" time="0.010"/>
                <testcase name="divides" classname="unit" time="0.010">
                    <failure message="1 / 0">1 / 0
        at math.rs:3</failure>
                </testcase>
                <testcase name="rounds" classname="unit" time="0.010">
                    <skipped/>
                </testcase>
            </testsuite>
            <testsuite name="lint" tests="1" skipped="0" errors="0" failures="0" timestamp="2023-11-14T22:13:23.000+00:00" time="1.200">
                <properties>
                    <property name="build" value="01a203e2"/>
                    <property name="number" value="7"/>
                    <property name="conclusion" value="success"/>
                </properties>
                <testcase name="lint" classname="dcd" timestamp="2023-11-14T22:13:23.000+00:00" time="1.200">
                    <system-out>checked
        </system-out>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn what_went_wrong_says_how() {
        insta::assert_snapshot!(report(&failing()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="shop" tests="3" skipped="1" failures="1" errors="1" timestamp="2023-11-14T22:13:20.000+00:00" time="4.000">
            <testsuite name="test" tests="1" skipped="0" errors="0" failures="1" timestamp="2023-11-14T22:13:22.000+00:00" time="1.200">
                <properties>
                    <property name="build" value="01a203e2"/>
                    <property name="number" value="7"/>
                    <property name="conclusion" value="success"/>
                </properties>
                <testcase name="test" classname="dcd" timestamp="2023-11-14T22:13:22.000+00:00" time="1.200">
                    <failure message="failure, exit code 7, 1.2s" type="failure"/>
                    <system-out>no
        bad</system-out>
                </testcase>
            </testsuite>
            <testsuite name="post" tests="1" skipped="0" errors="1" failures="0" timestamp="2023-11-14T22:13:26.000+00:00" time="1.200">
                <properties>
                    <property name="build" value="01a203e2"/>
                    <property name="number" value="7"/>
                    <property name="conclusion" value="error"/>
                </properties>
                <testcase name="post" classname="dcd" timestamp="2023-11-14T22:13:26.000+00:00" time="1.200">
                    <error message="it trapped" type="error"/>
                    <system-out>sent
        </system-out>
                </testcase>
            </testsuite>
            <testsuite name="ship" tests="1" skipped="1" errors="0" failures="0" time="0.000">
                <properties>
                    <property name="build" value="01a203e2"/>
                    <property name="number" value="7"/>
                    <property name="conclusion" value="skip"/>
                </properties>
                <testcase name="ship" classname="dcd">
                    <skipped message="step `post` ended in error" type="skip"/>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }
}
