//! A step type that fails when the tests that earlier steps recorded are too bad.
//!
//! ```json
//! { "uses": "junit-gate", "if": "always()", "with": { "steps": ["test"], "max_flaky": 2, "min_tests": 100 } }
//! ```

mod config;
mod count;

use dcd_plugin_sdk::{Error, Fault, StepContext, StepError, StepOutput, StepType};
use shared::facts;

pub use config::Config;
use count::{Count, plural};

/// How many tests of a kind are named.
const NAMED: usize = 50;

/// The step type.
#[derive(Debug)]
pub struct JunitGate;

impl StepType for JunitGate {
    const SUMMARY: &'static str = "Fail when recorded tests are too bad";
    type Config = Config;

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let count = Count::of(&facts::steps(&cx)?, config.steps.as_deref())?;
        for line in &count.lines {
            println!("{line}");
        }
        let wrong = broken(&config, &count);
        if wrong.is_empty() {
            let Count { total, failed, skipped, flaky, .. } = &count;
            return Ok(StepOutput::new()
                .output("tests", total)
                .output("failed", failed.number)
                .output("skipped", skipped)
                .output("flaky", flaky.number)
                .summary(count.words()));
        }
        Err(StepError::failed(Fault::new(wrong.join("; ")).code("junit-gate")))
    }
}

dcd_plugin_sdk::export_step!(JunitGate);

/// The thresholds that do not hold, in words. Names what broke them.
fn broken(config: &Config, count: &Count) -> Vec<String> {
    let mut wrong = Vec::new();
    if count.failed.number > config.max_failures {
        name("failed", &count.failed.names, count.failed.number);
        wrong.push(format!(
            "{} failed, and at most {} may",
            plural(count.failed.number, "test"),
            config.max_failures
        ));
    }
    if let Some(most) = config.max_flaky.filter(|most| count.flaky.number > *most) {
        name("flaky", &count.flaky.names, count.flaky.number);
        wrong.push(format!("{} flaky, and at most {most} may be", plural(count.flaky.number, "test")));
    }
    if let Some(most) = config.max_skipped.filter(|most| count.skipped > *most) {
        wrong.push(format!("{} skipped, and at most {most} may be", plural(count.skipped, "test")));
    }
    let fewest = config.min_tests.unwrap_or(1);
    if count.total < fewest {
        wrong.push(format!("{} recorded, and {fewest} must be at least", plural(count.total, "test")));
    }
    wrong
}

fn name(what: &str, names: &[String], number: u64) {
    println!("{what}:");
    for name in names.iter().take(NAMED) {
        println!("  {name}");
    }
    let more = number.saturating_sub(names.len().min(NAMED) as u64);
    if more > 0 {
        println!("  and {more} more");
    }
}

impl From<count::Unknown> for Error {
    fn from(unknown: count::Unknown) -> Self {
        let known = if unknown.known.is_empty() { "none".to_owned() } else { unknown.known.join(", ") };
        Error::invalid_config(
            format!("/steps/{}", unknown.index),
            format!("no step {:?} was decided before this one (there are: {known})", unknown.name),
        )
        .help("let this step need it: \"needs\": [\"NAME\"]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(config: &Value, steps: &Value) -> Result<StepOutput, StepError> {
        let mut cx = StepContext::default();
        cx.facts = json!({ "steps": steps });
        JunitGate::run(dcd_plugin_sdk::parse(&config.to_string())?, cx)
    }

    fn steps() -> Value {
        let test = |name: &str| json!({ "suite": "shop", "name": name, "message": "left: 1\n right: 2" });
        json!({
            "build": { "outcome": "success", "conclusion": "success", "attempts": 1, "flaky": false },
            "test (a)": {
                "outcome": "failure", "conclusion": "failure", "attempts": 1, "flaky": false,
                "tests": { "total": 5, "passed": 2, "failed": 2, "skipped": 1, "failures": [test("x"), test("y")], "flaky": [] },
            },
            "test (b)": {
                "outcome": "success", "conclusion": "success", "attempts": 2, "flaky": true,
                "tests": { "total": 5, "passed": 5, "failed": 0, "skipped": 0, "failures": [], "flaky": [test("z")] },
            },
            "lint": { "outcome": "success", "conclusion": "success", "attempts": 2, "flaky": true,
                "tests": { "total": 1, "passed": 1, "failed": 0, "skipped": 0, "failures": [] } },
        })
    }

    fn failure(config: &Value, steps: &Value) -> String {
        match run(config, steps) {
            Err(StepError::Failed(fault)) => fault.message,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn within_its_thresholds_it_counts() {
        let output =
            run(&json!({ "max_failures": 2, "max_flaky": 2, "max_skipped": 1, "min_tests": 11 }), &steps());
        let output = output.unwrap_or_default();
        let get = |name| output.get(name).and_then(|value| value.as_u64());
        assert_eq!(
            [get("tests"), get("failed"), get("skipped"), get("flaky")],
            [Some(11), Some(2), Some(1), Some(2)]
        );
    }

    #[test]
    fn every_threshold_that_does_not_hold_is_said() {
        let config = json!({ "max_flaky": 1, "max_skipped": 0, "min_tests": 12 });
        assert_eq!(
            failure(&config, &steps()),
            "2 tests failed, and at most 0 may; 2 tests flaky, and at most 1 may be; \
             1 test skipped, and at most 0 may be; 11 tests recorded, and 12 must be at least"
        );
        assert_eq!(failure(&json!({}), &json!({})), "0 tests recorded, and 1 must be at least");
    }

    #[test]
    fn only_the_steps_that_are_named_count() {
        let of = |names: &[&str]| failure(&json!({ "steps": names, "min_tests": 99 }), &steps());
        assert_eq!(of(&["test (b)"]), "5 tests recorded, and 99 must be at least");
        assert!(of(&["test"]).ends_with("10 tests recorded, and 99 must be at least"));
        assert!(of(&["build"]).ends_with("0 tests recorded, and 99 must be at least"));
        let unknown = run(&json!({ "steps": ["build", "unit"] }), &steps());
        let Err(StepError::Broken(Error::InvalidConfig(wrong))) = unknown else { unreachable!() };
        assert_eq!(wrong[0].pointer, "/steps/1");
        assert!(wrong[0].message.contains("build, lint, test (a), test (b)"), "{}", wrong[0].message);
    }
}
