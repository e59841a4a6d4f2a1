//! Comparisons and statistics as pages of text.

use crate::{
    analysis::{Change, Diff, Spread, Stats, StepEnd, StepStats, TestName, TestStats},
    build::Build,
    event::Outcome,
    report::Style,
    text::{self, clip, harmless_line},
};

/// How many steps or tests of a kind are named.
const NAMED: usize = 5;
/// How many tests of a comparison are named.
const TESTS: usize = 50;
/// How much of a value is shown.
const WIDE: usize = 120;

/// What differs between two builds.
pub fn diff(a: &Build, b: &Build, diff: &Diff, style: Style) -> String {
    let mut page = format!("{}\n", style.bold(&harmless_line(&format!("{} -> {}", label(a), label(b)))));
    let mut line = |name: &str, text: &str| {
        page.push_str(format!("  {name:<14} {text}").trim_end());
        page.push('\n');
    };
    if let Some(change) = &diff.outcome {
        line("outcome", &changed(change));
    }
    for change in &diff.facts {
        line(&harmless_line(&change.what), &changed(change));
    }
    if diff.is_empty() {
        line("no difference", "");
    }
    let took = |took: Option<u64>| took.map_or_else(|| "-".to_owned(), text::millis);
    line("took", &format!("{} -> {}", took(a.duration_ms), took(b.duration_ms)));
    page.push_str(&format!("\n{}\n", style.bold("Steps")));
    for step in &diff.steps {
        let end = |end: Option<StepEnd>| match end {
            Some(end) => {
                let outcome = end.outcome.map_or("not decided", Outcome::as_str);
                let took =
                    end.duration_ms.map_or_else(String::new, |took| format!(" {}", text::millis(took)));
                format!("{outcome}{took}")
            }
            None => "not there".to_owned(),
        };
        let text = format!("{}: {} -> {}", harmless_line(&step.name), end(step.a), end(step.b));
        page.push_str(&format!(
            "  {}\n",
            if step.different { style.warning(&format!("! {text}")) } else { format!("  {text}") }
        ));
    }
    let tests = [
        ("Newly failing tests", &diff.newly_failing),
        ("Newly passing tests", &diff.newly_passing),
        ("Added tests", &diff.added),
        ("Removed tests", &diff.removed),
    ];
    for (title, tests) in tests.into_iter().filter(|(_, tests)| !tests.is_empty()) {
        page.push_str(&format!("\n{}\n", style.bold(title)));
        for test in tests.iter().take(TESTS) {
            page.push_str(&format!("  {}\n", harmless_line(&test_name(test))));
        }
        let more = tests.len().saturating_sub(TESTS);
        if more > 0 {
            page.push_str(&format!("  and {more} more; --json has them all\n"));
        }
    }
    page
}

fn label(build: &Build) -> String {
    match build.number {
        Some(number) => format!("{} #{number}", build.component),
        None => format!("{} {}", build.component, build.id),
    }
}

fn changed(change: &Change) -> String {
    let value = |value: &Option<String>| match value {
        Some(value) if value.len() > WIDE => format!("{}...", harmless_line(clip(value, WIDE))),
        Some(value) => harmless_line(value),
        None => "unknown".to_owned(),
    };
    format!("{} -> {}", value(&change.a), value(&change.b))
}

fn test_name(test: &TestName) -> String {
    [&test.step, &test.suite, &test.name]
        .into_iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

/// How builds went. `of` says which.
pub fn stats(stats: &Stats, of: &str, style: Style) -> String {
    let mut page = format!("{}\n", style.bold(&harmless_line(of)));
    let outcomes: Vec<_> =
        stats.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let running = (stats.running > 0).then(|| format!("{} running", stats.running));
    let outcomes: Vec<_> = outcomes.into_iter().chain(running).collect();
    let outcomes = if outcomes.is_empty() { String::new() } else { format!(": {}", outcomes.join(", ")) };
    page.push_str(&format!("  builds     {}{outcomes}\n", stats.builds));
    if let Some(rate) = stats.pass_rate {
        page.push_str(&format!("  pass rate  {:.1}%\n", rate * 100.0));
    }
    if let Some(spread) = stats.duration_ms {
        page.push_str(&format!("  took       {}\n", spread_in_full(spread)));
    }
    let several = stats.steps.iter().any(|step| step.component != stats.steps[0].component);
    let step = |step: &StepStats| name(several, &[&step.component, &step.name]);
    let test = |test: &TestStats| name(several, &[&test.component, &test.step, &test.suite, &test.name]);
    let slow = |spread: Option<Spread>| spread.map_or(0, |spread| spread.p50);
    let quick = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |spread| {
            format!("p50 {}, p90 {}", text::millis(spread.p50), text::millis(spread.p90))
        })
    };
    let of_runs = |count: u64, step: &StepStats| format!("{count} of {}", step.runs);
    let times = |count: u64| format!("{count} {}", if count == 1 { "build" } else { "builds" });
    let mut section = |title: &str, lines: Vec<(String, String)>| {
        if !lines.is_empty() {
            page.push_str(&format!("\n{}\n", style.bold(title)));
            let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            page.extend(lines.iter().map(|(name, text)| format!("  {name:width$}  {text}\n")));
        }
    };
    section("Slowest steps", top(&stats.steps, |s| slow(s.duration_ms), |s| (step(s), quick(s.duration_ms))));
    section("Flaky steps", top(&stats.steps, |s| s.flaky, |s| (step(s), of_runs(s.flaky, s))));
    section("Failing steps", top(&stats.steps, |s| s.failures, |s| (step(s), of_runs(s.failures, s))));
    section("Slowest tests", top(&stats.tests, |t| slow(t.duration_ms), |t| (test(t), quick(t.duration_ms))));
    section("Flaky tests", top(&stats.tests, |t| t.flaky, |t| (test(t), times(t.flaky))));
    section("Failing tests", top(&stats.tests, |t| t.failures, |t| (test(t), times(t.failures))));
    page
}

fn spread_in_full(spread: Spread) -> String {
    let Spread { min, p50, p90, p99, max } = spread;
    let parts = [("min", min), ("p50", p50), ("p90", p90), ("p99", p99), ("max", max)];
    parts.map(|(name, value)| format!("{name} {}", text::millis(value))).join(", ")
}

fn name(with_component: bool, parts: &[&String]) -> String {
    let parts = parts.iter().skip(usize::from(!with_component)).filter(|part| !part.is_empty());
    harmless_line(&parts.map(|part| part.as_str()).collect::<Vec<_>>().join(" "))
}

/// The first few by this figure, without those where it is 0.
fn top<T>(
    all: &[T],
    figure: impl Fn(&T) -> u64,
    say: impl Fn(&T) -> (String, String),
) -> Vec<(String, String)> {
    let mut some: Vec<_> = all.iter().filter(|one| figure(one) > 0).collect();
    some.sort_by_key(|one| std::cmp::Reverse(figure(one)));
    some.into_iter().take(NAMED).map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_name_what_stands_out() {
        let spread = |p50| Some(Spread { min: 1, p50, p90: 2 * p50, p99: 3000, max: 4000 });
        let step = |name: &str, runs, failures, flaky, p50| StepStats {
            component: "shop".into(),
            name: name.into(),
            runs,
            failures,
            flaky,
            duration_ms: spread(p50),
        };
        let test = |name: &str, failures, flaky| TestStats {
            component: "shop".into(),
            step: "test".into(),
            suite: "cart".into(),
            name: name.into(),
            failures,
            flaky,
            duration_ms: None,
        };
        let found = Stats {
            builds: 10,
            running: 1,
            outcomes: [("failure", 2), ("success", 7)].into(),
            pass_rate: Some(7.0 / 9.0),
            duration_ms: spread(1000),
            steps: vec![step("test", 9, 2, 1, 900), step("lint", 9, 0, 0, 1200)],
            tests: vec![test("adds", 2, 0), test("waits\x1b[2J", 1, 1)],
        };
        insta::assert_snapshot!(stats(&found, "shop, the last 30 days", Style::PLAIN), @r"
        shop, the last 30 days
          builds     10: 2 failure, 7 success, 1 running
          pass rate  77.8%
          took       min 1ms, p50 1.0s, p90 2.0s, p99 3.0s, max 4.0s

        Slowest steps
          lint  p50 1.2s, p90 2.4s
          test  p50 900ms, p90 1.8s

        Flaky steps
          test  1 of 9

        Failing steps
          test  2 of 9

        Flaky tests
          test cart waits\x1b[2J  1 build

        Failing tests
          test cart adds          2 builds
          test cart waits\x1b[2J  1 build
        ");
    }
}
