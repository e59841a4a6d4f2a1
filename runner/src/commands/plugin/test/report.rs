//! What came of the tests, for people and for programs.

use std::{io, time::Duration};

use serde_json::{Value, json};

use super::title;
use crate::{
    cli::PluginTestArgs,
    commands::output::{print, print_json},
    error::{CommandError, Exit},
    plugin::locate::Located,
    report::Style,
    text::{self, harmless_line},
};

/// What came of one test.
pub(super) struct Tested {
    pub(super) name: String,
    /// What is expected, or the file that says it.
    pub(super) about: String,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

/// How a test went.
pub(super) enum Verdict {
    Passed,
    /// What is not as it should be, one after the other.
    Failed(Vec<String>),
    /// Why it was not tried.
    Skipped(String),
}

/// Tells of the tests while they run, and sums them up.
pub(super) struct Report {
    json: bool,
    style: Style,
    width: usize,
    all: Vec<Tested>,
}

impl Report {
    /// `width` is the longest name's.
    pub(super) fn new(args: &PluginTestArgs, width: usize) -> Self {
        Report { json: args.json, style: Style::of(&io::stdout()), width: width.min(60), all: Vec::new() }
    }

    pub(super) fn add(&mut self, tested: Tested) -> Result<(), CommandError> {
        if !self.json {
            print(&self.lines(&tested))?;
        }
        self.all.push(tested);
        Ok(())
    }

    fn lines(&self, tested: &Tested) -> String {
        let Report { style, width, .. } = self;
        let name = harmless_line(&tested.name);
        let took = text::duration(tested.took);
        match &tested.verdict {
            Verdict::Passed => format!("{}   {name:<width$}  {}\n", style.good("ok"), style.dim(&took)),
            Verdict::Skipped(why) => {
                format!("{} {name:<width$}  {}\n", style.warning("skip"), style.dim(&harmless_line(why)))
            }
            Verdict::Failed(problems) => {
                let mut lines = format!("{} {name:<width$}  {}\n", style.bad("FAIL"), style.dim(&took));
                lines.push_str(&format!("     {}\n", style.dim(&harmless_line(&tested.about))));
                for line in problems.iter().flat_map(|problem| problem.lines()) {
                    lines.push_str(&format!("     {}\n", harmless_line(line)));
                }
                lines
            }
        }
    }

    /// The sum, and whether all is well.
    pub(super) fn end(self, located: &Located, more: Value) -> Result<Exit, CommandError> {
        let count = |is: fn(&Verdict) -> bool| self.all.iter().filter(|tested| is(&tested.verdict)).count();
        let passed = count(|verdict| matches!(verdict, Verdict::Passed));
        let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
        let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        if self.json {
            let mut document = json!({
                "plugin": located.manifest.name,
                "version": located.manifest.version,
                "kind": located.manifest.kind,
                "sha256": located.sha256,
                "passed": passed,
                "failed": failed,
                "skipped": skipped,
                "tests": self.all.iter().map(document).collect::<Vec<_>>(),
            });
            if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
                document.extend(more);
            }
            print_json(&document)?;
        } else {
            let mut sum = format!("{}: {passed} passed", harmless_line(&title(located)));
            for (count, word) in [(failed, "failed"), (skipped, "skipped")] {
                if count > 0 {
                    sum.push_str(&format!(", {count} {word}"));
                }
            }
            print(&format!("\n{sum}\n"))?;
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::StepFailed })
    }
}

fn document(tested: &Tested) -> Value {
    let none: &[String] = &[];
    let (outcome, problems, reason) = match &tested.verdict {
        Verdict::Passed => ("passed", none, None),
        Verdict::Failed(problems) => ("failed", problems.as_slice(), None),
        Verdict::Skipped(why) => ("skipped", none, Some(why)),
    };
    json!({
        "name": tested.name,
        "about": tested.about,
        "outcome": outcome,
        "problems": problems,
        "reason": reason,
        "duration_ms": u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
    })
}
