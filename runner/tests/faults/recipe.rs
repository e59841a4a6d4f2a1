//! The pipelines that are run.

use dcd::event::Outcome;
use serde_json::{Value, json};

/// What a build does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Two steps that print some lines.
    Quick,
    /// Steps beside each other, that print at different speeds.
    Parallel,
    /// Much output at once.
    Chatty,
    /// A step that fails, and one that is skipped for it.
    Failing,
    /// A step that fails twice and then succeeds.
    Retried,
    /// A step that takes too long.
    Late,
    /// Prints until there is no room for it.
    Flood,
}

impl Recipe {
    pub(crate) const ALL: [Recipe; 7] = [
        Recipe::Quick,
        Recipe::Parallel,
        Recipe::Chatty,
        Recipe::Failing,
        Recipe::Retried,
        Recipe::Late,
        Recipe::Flood,
    ];
    /// Those that end by themselves.
    pub(crate) const USUAL: [Recipe; 6] =
        [Recipe::Quick, Recipe::Parallel, Recipe::Chatty, Recipe::Failing, Recipe::Retried, Recipe::Late];

    /// The pipeline's file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Recipe::Quick => "quick.json",
            Recipe::Parallel => "parallel.json",
            Recipe::Chatty => "chatty.json",
            Recipe::Failing => "failing.json",
            Recipe::Retried => "retried.json",
            Recipe::Late => "late.json",
            Recipe::Flood => "flood.json",
        }
    }

    /// How it ends when nobody disturbs it.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Recipe::Quick | Recipe::Parallel | Recipe::Chatty | Recipe::Retried => Outcome::Success,
            Recipe::Failing => Outcome::Failure,
            Recipe::Late | Recipe::Flood => Outcome::Timeout,
        }
    }

    /// Its steps.
    pub(crate) fn steps(self) -> Value {
        match self {
            Recipe::Quick => json!([
                { "name": "compile", "run": lines(20, "0.01") },
                { "name": "test", "run": lines(20, "0.02"), "needs": ["compile"] },
            ]),
            Recipe::Parallel => json!([
                { "name": "slow", "run": lines(10, "0.12") },
                { "name": "steady", "run": lines(40, "0.02") },
                { "name": "fast", "run": lines(200, "0") },
                { "name": "last", "run": lines(3, "0.05"), "needs": ["slow", "steady", "fast"] },
            ]),
            Recipe::Chatty => json!([
                { "name": "flood", "run": "seq 20000" },
                { "name": "bytes", "run": "head -c 200000 /dev/urandom; sleep 0.3; head -c 100000 /dev/urandom" },
            ]),
            Recipe::Failing => json!([
                { "name": "compile", "run": lines(15, "0.02") },
                { "name": "test", "run": format!("{}; exit 3", lines(15, "0.02")), "needs": ["compile"] },
                { "name": "ship", "run": "echo never", "needs": ["test"] },
            ]),
            Recipe::Retried => json!([
                { "name": "flaky", "run": format!("{}; test \"$DCD_ATTEMPT\" = 3", lines(10, "0.02")),
                  "retry": { "attempts": 3, "delay": "100ms" } },
                { "name": "after", "run": lines(5, "0.02"), "needs": ["flaky"] },
            ]),
            Recipe::Late => json!([{ "name": "late", "run": lines(1000, "0.05"), "timeout": "800ms" }]),
            Recipe::Flood => json!([
                { "name": "flood", "run": "while :; do head -c 30000 /dev/urandom | base64; sleep 0.02; done",
                  "timeout": "20s" },
            ]),
        }
    }
}

/// A script that prints numbered lines.
fn lines(count: u32, pause: &str) -> String {
    let sleep = if pause == "0" { String::new() } else { format!("; sleep {pause}") };
    format!(
        "i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo \"$DCD_STEP $DCD_ATTEMPT line $i\"{sleep}; done"
    )
}
