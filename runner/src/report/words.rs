//! What is said of a build: the same words in every mode.
//!
//! What comes from others (names, messages, summaries) is made harmless here.

use crate::{
    build::{Build, Step},
    event::{
        AttemptFinished, BuildCancelling, BuildFinished, LockAcquired, LockWaiting, Outcome, Problem,
        StepFinished, StepLog, StepShell, TestCase,
    },
    facts::{Fact, Facts, Git},
    report::Style,
    text::{self, harmless_line},
};

/// How many artifacts, and failed tests, are named.
const NAMED: usize = 5;

/// Number, id, image and commit.
pub(super) fn header(build: &Build, style: Style) -> Vec<String> {
    let number = match build.number {
        Some(number) => format!("#{number}"),
        None => "(number pending)".to_owned(),
    };
    let title = style.bold(&harmless_line(&format!("{} {number}", build.component)));
    let mut lines = vec![
        format!("{title}  {}", harmless_line(&build.id)),
        format!("  image   {}", harmless_line(&image(&build.facts))),
        format!("  commit  {}", harmless_line(&commit(&build.facts.git))),
    ];
    if let Some(first) = &build.retry_of {
        lines.push(format!("  again   {}", harmless_line(first)));
    }
    lines
}

/// `> test (attempt 2)`
pub(super) fn started(step: &str, attempt: u32, style: Style) -> String {
    let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    style.bold(&format!("> {step}{again}"))
}

/// What was wrong with an attempt, apart from its outcome.
pub(super) fn problem(problem: Option<&Problem>, leaked: bool, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(problem) = problem {
        lines.push(format!("  {}", harmless_line(&problem.message)));
        if let Some(help) = &problem.help {
            lines.push(format!("  {} {}", style.warning("help:"), harmless_line(help)));
        }
    }
    if leaked {
        lines.push(format!(
            "  {} the step left a process behind that holds its output; dcd ends it with the build",
            style.warning("note:")
        ));
    }
    lines
}

/// An attempt that another one follows.
pub(super) fn retried(step: &str, body: &AttemptFinished, wait_ms: u64, style: Style) -> String {
    let what = ended(body.outcome, body.exit_code, Some(body.duration_ms));
    let when = if wait_ms == 0 { "now".to_owned() } else { format!("in {}", text::millis(wait_ms)) };
    let next = body.attempt.saturating_add(1);
    format!("{} {step}  {what}; attempt {next} {when}", style.warning("!!"))
}

/// How a step ended, and what it has to say about that.
pub(super) fn finished(step: &Step, body: &StepFinished, style: Style) -> Vec<String> {
    let name = &step.name;
    if body.outcome == Outcome::Skip {
        let reason = body.reason.as_deref().unwrap_or("not needed");
        return vec![style.dim(&format!("- {name}  skipped: {}", harmless_line(reason)))];
    }
    let attempt = step.attempts.last();
    let took = attempt.and_then(|attempt| attempt.duration_ms);
    let code = attempt.and_then(|attempt| attempt.exit_code);
    let line = match (body.outcome, body.conclusion) {
        (Outcome::Success, _) => {
            let took = text::millis(took.unwrap_or_default());
            let flaky =
                if body.flaky { format!(", at attempt {} (flaky)", body.attempts) } else { String::new() };
            let mark = if body.flaky { style.warning("ok") } else { style.good("ok") };
            format!("{mark} {name}  {took}{flaky}")
        }
        (outcome, Outcome::Success) => {
            format!("{} {name}  {}; the build goes on", style.warning("!!"), ended(outcome, code, took))
        }
        (outcome, _) => format!("{} {name}  {}", style.bad("!!"), ended(outcome, code, took)),
    };
    let mut lines = vec![line];
    if let Some(reason) = &body.reason {
        // It ended before its first attempt.
        lines.push(format!("   {}", harmless_line(reason)));
    }
    lines.extend(tests(&step.tests));
    lines.extend(artifacts(step));
    if let Some(summary) = &body.summary {
        let mut rest = summary.lines();
        lines.extend(
            rest.by_ref().take(SUMMARY).map(|line| format!("   {}", harmless_line(text::clip(line, WIDE)))),
        );
        let more = rest.count();
        if more > 0 {
            lines.push(format!("   ... {more} more lines: dcd history show"));
        }
    }
    lines
}

/// How many lines of a summary are shown when its step ends, and how much of each.
const SUMMARY: usize = 50;
const WIDE: usize = 1000;

/// `failure, exit code 7, 1.2s`
pub(super) fn ended(outcome: Outcome, code: Option<i32>, took: Option<u64>) -> String {
    let code = code.filter(|code| *code != 0);
    let code = code.map_or_else(String::new, |code| format!(", exit code {code}"));
    let took = took.map_or_else(String::new, |took| format!(", {}", text::millis(took)));
    format!("{outcome}{code}{took}")
}

/// How many tests there were, and those that did not go well.
pub(super) fn tests(cases: &[TestCase]) -> Vec<String> {
    if cases.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("   {}", test_counts(cases))];
    let bad = cases.iter().filter(|case| is_bad(case.outcome));
    for case in bad.clone().take(NAMED) {
        let message = case.message.as_deref().and_then(|message| message.lines().next());
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        lines
            .push(format!("   {}", harmless_line(&format!("{} {}{message}", case.outcome, test_name(case)))));
    }
    let more = bad.count().saturating_sub(NAMED);
    if more > 0 {
        lines.push(format!("   and {more} more; `dcd history show` has them all"));
    }
    lines
}

/// `12 tests: 10 passed, 1 failed, 1 skipped`
pub(super) fn test_counts(cases: &[TestCase]) -> String {
    let count = |wanted: fn(Outcome) -> bool| cases.iter().filter(|case| wanted(case.outcome)).count();
    let counts = [
        (count(|outcome| outcome == Outcome::Success), "passed"),
        (count(is_bad), "failed"),
        (count(|outcome| outcome == Outcome::Skip), "skipped"),
    ];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!("{} tests: {}", cases.len(), counts.join(", "))
}

/// The test with its suite.
pub(super) fn test_name(case: &TestCase) -> String {
    if case.suite.is_empty() { case.name.clone() } else { format!("{} {}", case.suite, case.name) }
}

fn artifacts(step: &Step) -> Option<String> {
    let artifacts = &step.artifacts;
    let named: Vec<_> = artifacts.iter().take(NAMED).map(|artifact| artifact.path.as_str()).collect();
    let more = artifacts.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let line = || format!("   artifacts: {}{more}", harmless_line(&named.join(", ")));
    (!artifacts.is_empty()).then(line)
}

/// A plugin's remark; `None` for one that only its author wants to read.
pub(super) fn log(log: &StepLog) -> Option<String> {
    if matches!(log.level.as_str(), "trace" | "debug") {
        return None;
    }
    let fields: String =
        log.fields.iter().map(|(key, value)| format!(" {key}={}", harmless_line(value))).collect();
    Some(format!("[{}] {}{}", log.level, harmless_line(&log.message), harmless_line(&fields)))
}

pub(super) fn lock_waiting(body: &LockWaiting) -> String {
    let mut line = format!("waiting for the lock `{}`", body.lock);
    if !body.holder.is_empty() {
        let since = body.since.map_or_else(String::new, |since| format!(" since {}", text::rfc3339(since)));
        line.push_str(&format!(", which {} holds{since}", body.holder));
    }
    if let Some(ahead) = body.ahead {
        line.push_str(&format!("; {ahead} builds come before this one"));
    }
    if let Some(problem) = &body.problem {
        line.push_str(&format!("; it cannot be asked for just now: {problem}"));
    }
    harmless_line(&line)
}

pub(super) fn lock_acquired(body: &LockAcquired) -> String {
    let only_here = body
        .only_here
        .as_ref()
        .map_or_else(String::new, |why| format!("; it holds on this machine only: {why}"));
    harmless_line(&format!("got the lock `{}` after {}{only_here}", body.lock, text::millis(body.waited_ms)))
}

pub(super) fn cancelling(body: &BuildCancelling) -> String {
    let why = match (body.signal, &body.reason) {
        (Some(signal), _) => signal_name(signal),
        (None, Some(reason)) => harmless_line(reason),
        (None, None) => "out of time".to_owned(),
    };
    format!("{why}: stopping; once more stops at once")
}

pub(super) fn shell(step: &str, body: &StepShell) -> String {
    match body.duration_ms {
        None => harmless_line(&format!("> {step}: a shell in {}; `exit` goes on", body.directory)),
        Some(took) => format!("> {step}: the shell was closed after {}", text::millis(took)),
    }
}

/// The last line.
pub(super) fn build_finished(build: &Build, body: &BuildFinished, style: Style) -> String {
    let number = build.number.map_or_else(String::new, |number| format!(" #{number}"));
    let word = match body.outcome {
        Outcome::Success => style.good("success"),
        outcome => style.bad(outcome.as_str()),
    };
    let bad: Vec<_> = build.steps.iter().filter(|step| step.conclusion.is_some_and(is_bad)).collect();
    let bad: Vec<_> = bad.iter().map(|step| step.name.as_str()).collect();
    let bad = if bad.is_empty() { String::new() } else { format!(": {}", bad.join(", ")) };
    let why =
        body.reason.as_deref().map_or_else(String::new, |reason| format!(" ({})", harmless_line(reason)));
    let component = harmless_line(&build.component);
    format!("{component}{number}: {word} in {}{bad}{why}", text::millis(body.duration_ms))
}

/// Whether something went wrong.
pub(super) fn is_bad(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Success | Outcome::Skip)
}

/// The image's digest, or why there is none.
pub(super) fn image(facts: &Facts) -> String {
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
pub(super) fn commit(git: &Fact<Git>) -> String {
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
