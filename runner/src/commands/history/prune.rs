//! `dcd history prune`

use serde_json::{Value, json};

use super::selection::{count, days_ago, label, name, size};
use crate::{
    analysis::{Candidate, Rules, kept},
    cli::PruneArgs,
    commands::{
        builds::{Builds, Criteria},
        output::{print, print_json, warn},
    },
    error::{CommandError, Exit},
    journal::{BuildDir, Pruned},
    report::Summary,
};

/// What a build lost, or would lose, in bytes: in the workspace and in the backend. `None` where there is nothing to do.
#[derive(Clone, Copy, Default)]
struct Dropped {
    local: Option<u64>,
    remote: Option<u64>,
}

pub(super) fn prune(args: &PruneArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let criteria = Criteria { component: args.source.component.clone(), ..Criteria::default() };
    // Which builds are the newest cannot be said without knowing all.
    let mut all = builds.all(&criteria).map_err(|mut error| {
        error.message.push_str("; nothing was dropped");
        error
    })?;
    all.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
    let rules = Rules {
        newest: args.keep,
        since: args.keep_days.map(|days| days_ago(days.into())),
        successes: args.keep_successes,
    };
    let kept = kept(all.iter().map(candidate), rules);
    let total = all.len();
    let mut done = Vec::new();
    let mut failed = 0;
    for build in all.into_iter().zip(kept).filter_map(|(build, kept)| (!kept).then_some(build)) {
        let place = builds.store().place(&build.id);
        let is_here = place.journal().exists();
        if !is_here && build.pruned {
            continue;
        }
        let local = if is_here { prune_local(&builds, &place, args.dry_run) } else { Ok(None) };
        let remote = prune_remote(&mut builds, &build, args.dry_run);
        let mut or_say = |result: Result<Option<u64>, String>| {
            result.unwrap_or_else(|error| {
                warn(&format!("{}: {error}", label(&build)));
                failed += 1;
                None
            })
        };
        let dropped = Dropped { local: or_say(local), remote: or_say(remote) };
        if dropped.local.is_some() || dropped.remote.is_some() {
            done.push((build, dropped));
        }
    }
    say(args, total, &done)?;
    Ok(if failed > 0 { Exit::Environment } else { Exit::Success })
}

fn candidate(build: &Summary) -> Candidate<'_> {
    Candidate { component: &build.component, started_at: build.started_at, outcome: build.outcome }
}

/// `None`: nothing is to be dropped, or not yet.
fn prune_local(builds: &Builds, place: &BuildDir, dry_run: bool) -> Result<Option<u64>, String> {
    if place.is_pruned() || builds.store().is_unsent(&place.id) {
        return Ok(None);
    }
    if dry_run {
        if place.is_running() {
            return Ok(None);
        }
        let build = place.read().map_err(|error| error.to_string())?;
        let attempts = build.steps.iter().flat_map(|step| &step.attempts);
        return Ok(Some(attempts.map(|attempt| attempt.output_bytes).sum()));
    }
    match builds.store().prune(place) {
        Ok(Pruned::Dropped(bytes)) => Ok(Some(bytes)),
        Ok(Pruned::Running) => Ok(None),
        Err(error) => Err(format!("its journal stays as it is: {error}")),
    }
}

fn prune_remote(builds: &mut Builds, build: &Summary, dry_run: bool) -> Result<Option<u64>, String> {
    // What is still to come of it has output, too.
    if builds.store().is_unsent(&build.id) {
        return Ok(None);
    }
    let record = builds.record_of(build).map_err(|error| error.to_string())?;
    let Some(record) = record.filter(|record| !record.pruned) else { return Ok(None) };
    if record.outcome.is_none() && !record.lost {
        return Ok(None);
    }
    if dry_run {
        return Ok(Some(record.brief.map_or(0, |brief| brief.output_bytes)));
    }
    builds.prune(&build.component, record.number).map(Some).map_err(|error| error.to_string())
}

fn say(args: &PruneArgs, total: usize, done: &[(Summary, Dropped)]) -> Result<(), CommandError> {
    let sum = |which: fn(&Dropped) -> Option<u64>| {
        done.iter().filter_map(|(_, dropped)| which(dropped)).sum::<u64>()
    };
    let (local, remote) = (sum(|dropped| dropped.local), sum(|dropped| dropped.remote));
    if args.json {
        let build = |(build, dropped): &(Summary, Dropped)| {
            let mut document = name(build);
            document["workspace_bytes"] = json!(dropped.local);
            document["backend_bytes"] = json!(dropped.remote);
            document
        };
        return print_json(&json!({
            "dry_run": args.dry_run,
            "builds": total,
            "pruned": done.iter().map(build).collect::<Value>(),
            "workspace_bytes": local,
            "backend_bytes": remote,
        }));
    }
    let mut text = String::new();
    if args.dry_run {
        for (build, dropped) in done {
            let bytes = dropped.local.max(dropped.remote).unwrap_or_default();
            text.push_str(&format!("{}: {}\n", label(build), size(bytes)));
        }
    }
    let would = if args.dry_run { "would drop" } else { "dropped" };
    text.push_str(&format!(
        "{would} the output of {} of {total}: {} in this workspace, {} in the history backend\n",
        count(done.len()),
        size(local),
        size(remote)
    ));
    print(&text)
}
