//! What a plugin is told of the build's steps so far: `facts.steps`.

use std::collections::BTreeMap;

use dcd_plugin_sdk::{Error, StepContext};
use serde::Deserialize;

/// A step that is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Step {
    /// What counts of its outcome: `success`, `failure`, `error`, `timeout`, `cancellation` or `skip`.
    pub conclusion: String,
    /// It succeeded, but not at its first attempt.
    pub flaky: bool,
    /// What its test reports say; none when it recorded none.
    pub tests: Option<Tests>,
}

/// The tests of a step's last attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tests {
    /// How many there are.
    pub total: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were not run.
    pub skipped: u64,
    /// Those that failed; of very many, the first.
    pub failures: Vec<Test>,
    /// Those that failed in an earlier attempt and succeeded in the last one.
    pub flaky: Vec<Test>,
}

/// A test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Test {
    /// Its suite or class; may be empty.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// What the report says against it.
    pub message: String,
}

impl Step {
    /// Whether it counts as a failure.
    pub fn is_bad(&self) -> bool {
        !matches!(self.conclusion.as_str(), "success" | "skip")
    }
}

/// The steps that are decided, by name.
pub fn steps(cx: &StepContext) -> Result<BTreeMap<String, Step>, Error> {
    match cx.facts.get("steps") {
        None => {
            Err(Error::other("this dcd does not tell plugins about the steps so far").help("use a newer one"))
        }
        Some(steps) => Ok(BTreeMap::deserialize(steps)?),
    }
}

/// The text of a fact such as `["git", "commit"]`, where it is known.
pub fn text<'c>(cx: &'c StepContext, path: &[&str]) -> Option<&'c str> {
    path.iter().try_fold(&cx.facts, |value, key| value.get(key))?.as_str()
}
