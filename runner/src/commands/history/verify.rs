//! `dcd history verify`

use std::io::ErrorKind;

use serde_json::{Value, json};

use super::{
    check::{self, Checked},
    selection::{label, name},
};
use crate::{
    build::Build,
    cli::VerifyArgs,
    commands::{
        builds::{Builds, Criteria, Found, store_error},
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    journal::BuildDir,
    report::{Style, Summary},
    text::harmless_line,
};

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    builds.need_backend()?;
    let mut checked = Vec::new();
    if args.all {
        for build in all(&mut builds, args)? {
            checked.push(check::build(&mut builds, build)?);
        }
    } else {
        let build = match builds.find(&args.build)? {
            Found::Local(place) => of_place(&builds, &place).unwrap_or_else(|| unknown(&place)),
            Found::Remote(build) => *build,
        };
        checked.push(check::build(&mut builds, build)?);
    }
    let whole = checked.iter().all(|build| build.problems.is_empty());
    if args.json {
        let builds = checked.iter().map(document).collect::<Value>();
        print_json(&json!({ "whole": whole, "builds": builds }))?;
    } else if checked.is_empty() {
        print("There are no builds here yet. Make one: dcd run\n")?;
    } else {
        let style = Style::of(&std::io::stdout());
        print(&checked.iter().map(|build| page(build, style)).collect::<String>())?;
    }
    Ok(if whole { Exit::Success } else { Exit::Difference })
}

/// Every build of the workspace, also those that cannot be read, and those that only the backend has.
fn all(builds: &mut Builds, args: &VerifyArgs) -> Result<Vec<Summary>, CommandError> {
    let criteria = Criteria { component: args.source.component.clone(), ..Criteria::default() };
    let places = builds.store().builds().map_err(|error| store_error(&error))?;
    let fits = |build: &Summary| {
        build.component.is_empty() || criteria.component.as_ref().is_none_or(|c| *c == build.component)
    };
    let mut all: Vec<_> = places.iter().filter_map(|place| of_place(builds, place)).filter(fits).collect();
    let store = builds.store().clone();
    let listed = builds.all(&criteria)?.into_iter();
    all.extend(listed.filter(|build| !store.place(&build.id).journal().exists()));
    Ok(all)
}

/// `None`: there is no build there.
fn of_place(builds: &Builds, place: &BuildDir) -> Option<Summary> {
    match place.glance() {
        Ok(mut build) if !build.id.is_empty() => {
            if build.number.is_none() {
                build.number = builds.store().numbers_of(&build.component).get(&build.id).copied();
            }
            // What its events say that its id is, they may not have said from the first.
            build.id.clone_from(&place.id);
            Some(Summary::of(&build))
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::UnexpectedEof
            ) =>
        {
            None
        }
        Ok(_) | Err(_) => Some(unknown(place)),
    }
}

/// A build of which only the place can be said.
fn unknown(place: &BuildDir) -> Summary {
    let mut build = Build::default();
    build.id.clone_from(&place.id);
    Summary::of(&build)
}

fn document(checked: &Checked) -> Value {
    let problem = |problem: &check::Problem| json!({ "place": problem.place.as_str(), "event": problem.event, "message": problem.message });
    let mut document = name(&checked.build);
    document["events"] = json!(checked.events);
    document["hash"] = json!(checked.hash.map(|hash| hash.to_string()));
    document["running"] = json!(checked.running);
    document["places"] = json!(checked.places.iter().map(|place| place.as_str()).collect::<Vec<_>>());
    document["problems"] = checked.problems.iter().map(problem).collect();
    document
}

fn page(checked: &Checked, style: Style) -> String {
    let places = checked.places.iter().map(|place| place.as_str()).collect::<Vec<_>>().join(" and ");
    let running = if checked.running { ", still running" } else { "" };
    if checked.problems.is_empty() {
        let events = checked.events;
        return format!(
            "{} {}: {events} events in {places}{running}\n",
            style.good("whole  "),
            label(&checked.build)
        );
    }
    let mut page = format!("{} {}\n", style.bad("damaged"), label(&checked.build));
    for problem in &checked.problems {
        page.push_str(&format!("        {}: {}\n", problem.place.as_str(), harmless_line(&problem.message)));
    }
    page
}
