//! Counting what the steps recorded.

use std::collections::BTreeMap;

use shared::facts::{Step, Test};
use shared::text;

/// The tests of all steps that count.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) total: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: Named,
    pub(crate) flaky: Named,
    /// One for each step, to be printed.
    pub(crate) lines: Vec<String>,
}

/// So many, of which some have names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) number: u64,
    pub(crate) names: Vec<String>,
}

/// A step that is named and not decided.
pub(crate) struct Unknown {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) known: Vec<String>,
}

impl Count {
    /// Of these steps; without names, of all that recorded tests.
    pub(crate) fn of(steps: &BTreeMap<String, Step>, names: Option<&[String]>) -> Result<Self, Unknown> {
        for (index, name) in names.unwrap_or_default().iter().enumerate() {
            if !steps.keys().any(|step| is_of(step, name)) {
                return Err(Unknown { index, name: name.clone(), known: steps.keys().cloned().collect() });
            }
        }
        let mut count = Self::default();
        for (step, result) in steps {
            let counts = match names {
                Some(names) => names.iter().any(|name| is_of(step, name)),
                None => result.tests.is_some(),
            };
            if counts {
                count.add(step, result);
            }
        }
        Ok(count)
    }

    fn add(&mut self, step: &str, result: &Step) {
        let Some(tests) = &result.tests else {
            self.lines.push(format!("{step}: no tests recorded"));
            return;
        };
        self.total += tests.total;
        self.skipped += tests.skipped;
        self.failed.number += tests.failed;
        let named = |test: &Test| match text::excerpt(test.message.as_bytes()) {
            message if message.is_empty() => format!("{step}: {}", full(test)),
            message => format!("{step}: {} ({message})", full(test)),
        };
        self.failed.names.extend(tests.failures.iter().map(named));
        let mut flaky = tests.flaky.len() as u64;
        self.flaky.names.extend(tests.flaky.iter().map(|test| format!("{step}: {}", full(test))));
        if flaky == 0 && result.flaky {
            // It was tried again, and no report says because of which test.
            flaky = 1;
            self.flaky.names.push(format!("{step}: the step itself"));
        }
        self.flaky.number += flaky;
        let (total, failed, skipped) = (tests.total, tests.failed, tests.skipped);
        self.lines.push(format!("{step}: {}", words(total, failed, skipped, flaky)));
    }

    pub(crate) fn words(&self) -> String {
        words(self.total, self.failed.number, self.skipped, self.flaky.number)
    }
}

fn words(total: u64, failed: u64, skipped: u64, flaky: u64) -> String {
    format!("{}, {failed} failed, {skipped} skipped, {flaky} flaky", plural(total, "test"))
}

pub(crate) fn plural(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Whether a step is the one of that name, of its matrix or of its pipeline.
fn is_of(step: &str, name: &str) -> bool {
    step.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(" (") || rest.starts_with('/'))
}

fn full(test: &Test) -> String {
    let both =
        if test.suite.is_empty() { test.name.clone() } else { format!("{} {}", test.suite, test.name) };
    text::excerpt(both.as_bytes())
}
