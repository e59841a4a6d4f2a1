//! `dcd history stats`

use serde_json::json;

use crate::{
    analysis::Stats,
    cli::StatsArgs,
    commands::{
        builds::{Builds, Criteria},
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    event::UnixMs,
    report::{self, Style},
    text::rfc3339,
};

/// What is counted where nobody says since when.
const DAYS: UnixMs = 30;

pub(super) fn stats(args: &StatsArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let component = builds.component().or(builds.own_component()).map(str::to_owned);
    let mut criteria = Criteria::new(&args.filter, component);
    let since = *criteria.since.get_or_insert_with(|| super::selection::days_ago(DAYS));
    let stats = Stats::of(&builds.samples(&criteria)?);
    if args.json {
        let mut document = json!(stats);
        document["component"] = json!(criteria.component);
        document["since"] = json!(rfc3339(since));
        print_json(&document)?;
    } else {
        let component = criteria.component.as_deref().unwrap_or("all components");
        let of = format!("{component}, since {}", rfc3339(since));
        print(&report::stats(&stats, &of, Style::of(&std::io::stdout())))?;
    }
    Ok(Exit::Success)
}
