//! The figures of a run, for people.

use std::fmt::Write as _;

use crate::{backend::Backend, course::Happened, plan::Setting, verdict::Verdict};

/// All of them, a line each.
pub(crate) fn table(
    backend: &dyn Backend,
    setting: Setting,
    happened: &Happened,
    verdict: &Verdict,
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| writeln!(text, "{name:<50} {value}").unwrap();
    row("backend", format!("{} ({})", backend.plugin(), backend.described()));
    row("seed", setting.seed.to_string());
    row("took", format!("{:.0} s", happened.took.as_secs_f64()));
    row("runs of dcd", happened.runs.len().to_string());
    row("history syncs", happened.syncs.to_string());
    row("faults", happened.faults.values().sum::<u64>().to_string());
    for (kind, times) in &happened.faults {
        row(&format!("  {kind}"), times.to_string());
    }
    for (kind, why) in &happened.untried {
        row(&format!("  {kind}"), format!("not tried: {why}"));
    }
    row("builds in journals", verdict.builds[0].to_string());
    row("builds in the backend", verdict.builds[1].to_string());
    for (status, builds) in &verdict.ends {
        row(&format!("  {status}"), builds.to_string());
    }
    row("events acknowledged", verdict.acknowledged.to_string());
    row("events in journals", verdict.journalled.to_string());
    row("events in the backend", verdict.kept.to_string());
    row("events lost", verdict.lost.to_string());
    row("events doubled", verdict.doubled.to_string());
    row("events in a wrong place, or changed", verdict.misplaced.to_string());
    text
}
