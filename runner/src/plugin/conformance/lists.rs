//! Listing builds.

use super::{
    Checked,
    bench::{Bench, build_of, events, holds, now, pause, same},
    instance::{Instance, timeless},
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{Build, Status},
    exports::dcd::plugin::history::{BuildFilter, NewBuild, Page, WriteOutcome},
};

/// How often a list is asked for anew that does not have what was just begun. Some stores need a moment for what is
/// not looked up by its key.
const PATIENCE: u32 = 20;

fn numbers(builds: &[Build]) -> Vec<u64> {
    builds.iter().map(|build| build.id.number).collect()
}

/// Begins as many builds, the later a second after the earlier.
fn begin(bench: &Bench, one: &mut Instance, many: u64) -> Checked {
    for number in 1..=many {
        let started_at = 1_763_000_000_000 + number * 1000;
        one.begin(&NewBuild { started_at, ..bench.build() })?;
    }
    Ok(())
}

/// Lists in pages of `limit` until these numbers come, or does not have them for too long.
fn list_as(one: &mut Instance, what: &str, filter: &BuildFilter, limit: u32, expected: &[u64]) -> Checked {
    let mut got = Vec::new();
    for _ in 0..PATIENCE {
        got = numbers(&one.list_from(filter, limit, None)?);
        if got == expected {
            return Ok(());
        }
        pause(250);
    }
    same(what, &got, &expected.to_vec())
}

pub(super) fn newest_first(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    same("an unknown component", &one.list_from(&bench.own(), 10, None)?, &Vec::new())?;
    begin(bench, &mut one, 3)?;
    list_as(&mut one, "the list", &bench.own(), 10, &[3, 2, 1])?;
    for build in one.list_from(&bench.own(), 10, None)? {
        same("a record in the list", &timeless(build.clone()), &one.record(&build.id)?)?;
    }
    Ok(())
}

pub(super) fn paged(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    begin(bench, &mut one, 7)?;
    for limit in [1, 3, 7, 8] {
        let what = format!("pages of {limit}");
        list_as(&mut one, &what, &bench.own(), limit, &[7, 6, 5, 4, 3, 2, 1])?;
    }
    Ok(())
}

pub(super) fn grows(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    begin(bench, &mut one, 7)?;
    list_as(&mut one, "the list", &bench.own(), 10, &[7, 6, 5, 4, 3, 2, 1])?;
    let first = one.list(&bench.own(), &Page { limit: 3, cursor: None })?;
    same("the first page", &numbers(&first.items), &vec![7, 6, 5])?;
    let mut other = bench.instance();
    for _ in 0..2 {
        other.begin(&NewBuild { started_at: 1_763_000_100_000, ..bench.build() })?;
    }
    holds(first.next.is_some(), || "the first page of three does not lead on".to_owned())?;
    // By another instance: a cursor is all that it needs.
    let rest = other.list_from(&bench.own(), 3, first.next)?;
    same("the pages after it, when two more builds had begun", &numbers(&rest), &vec![4, 3, 2, 1])
}

pub(super) fn filtered(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let ends =
        [Some(Status::Success), Some(Status::Failure), None, Some(Status::Success), Some(Status::Timeout)];
    for (end, second) in ends.into_iter().zip(1..) {
        let metadata = match second {
            1 => r#"{"branch":"main","user":"ada","dirty":true}"#,
            2 => r#"{"user":"Ada ñ \"%_'","branch":"main"}"#,
            3 => r#"["branch","main"]"#,
            _ => r#"{"branch":"mai","nested":{"user":"ada"}}"#,
        };
        let started_at = 1_763_000_000_000 + second * 1000;
        let build = NewBuild { started_at, metadata: metadata.to_owned(), ..bench.build() };
        let grant = one.begin(&build)?;
        same("appending", &one.append(&grant, &events(0..1))?, &WriteOutcome::Stored(1))?;
        if let Some(status) = end {
            let answer = one.finish(&grant, 1, status, build.started_at + 5)?;
            same("finishing", &answer, &WriteOutcome::Stored(1))?;
        }
    }
    let own = || bench.own();
    let with = |statuses: &[Status]| BuildFilter { statuses: statuses.to_vec(), ..own() };
    let meta = |pairs: &[(&str, &str)]| BuildFilter {
        metadata: pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
        ..own()
    };
    let at = |second: u64| Some(1_763_000_000_500 + second * 1000);
    for (what, filter, expected) in [
        ("no status", own(), &[5, 4, 3, 2, 1][..]),
        ("success", with(&[Status::Success]), &[4, 1]),
        ("failure or timeout", with(&[Status::Failure, Status::Timeout]), &[5, 2]),
        ("running", with(&[Status::Running]), &[3]),
        ("cancellation", with(&[Status::Cancellation]), &[]),
        ("started after the second", BuildFilter { started_after: at(2), ..own() }, &[5, 4, 3]),
        ("started before the third", BuildFilter { started_before: at(2), ..own() }, &[2, 1]),
        ("in between", BuildFilter { started_after: at(1), started_before: at(4), ..own() }, &[4, 3, 2]),
        ("success in between", BuildFilter { started_after: at(1), ..with(&[Status::Success]) }, &[4]),
        ("a branch", meta(&[("branch", "main")]), &[2, 1]),
        ("a branch and a user", meta(&[("branch", "main"), ("user", "ada")]), &[1]),
        ("a user with an odd name", meta(&[("user", "Ada ñ \"%_'")]), &[2]),
        ("a value that is no text", meta(&[("dirty", "true")]), &[]),
        ("a key that there is not", meta(&[("br", "main")]), &[]),
        (
            "a branch and a status",
            BuildFilter { statuses: vec![Status::Failure], ..meta(&[("branch", "main")]) },
            &[2],
        ),
    ] {
        list_as(&mut one, what, &filter, 10, expected)?;
        // Builds that are not let through do not end a page or the list.
        list_as(&mut one, &format!("{what}, in pages of 1"), &filter, 1, expected)?;
    }
    Ok(())
}

pub(super) fn everywhere(bench: &Bench) -> Checked {
    let start = now();
    let mut one = bench.instance();
    let components = ["one", "two"].map(|name| format!("{}/{name}", bench.component));
    for component in &components {
        one.begin(&build_of(component))?;
    }
    // Others may begin builds meanwhile, too.
    let filter = BuildFilter { component: None, started_after: Some(start.saturating_sub(1)), ..bench.own() };
    let mut other = bench.instance();
    let mut got = Vec::new();
    for _ in 0..PATIENCE {
        let listed = other.list_from(&filter, 100, None)?;
        got = listed
            .into_iter()
            .map(|build| build.id.component)
            .filter(|name| components.contains(name))
            .collect();
        got.sort();
        if got == components {
            return Ok(());
        }
        pause(250);
    }
    same("the components", &got, &components.to_vec())
}
