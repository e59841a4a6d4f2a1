//! `dcd history import`

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use serde_json::{Value, json};
use tar::{Archive, Entry};

use super::{
    archive::{self, LIST, List, Listed, VERSION},
    selection::count,
};
use crate::{
    cli::ImportArgs,
    commands::{
        builds::store_error,
        load,
        output::{print, print_json, warn},
    },
    error::{CommandError, Exit},
    journal::Store,
    text::harmless_line,
};

/// A list of a million builds is shorter.
const LONGEST_LIST: u64 = 256 << 20;

/// What became of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It is here now; with its number, where that was free.
    Imported(Option<u64>),
    /// It was here.
    Known,
    /// It is not what was recorded.
    Refused(String),
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, CommandError> {
    let store = Store::at(&load::workspace()?);
    let path = args.archive.as_path();
    let file = File::open(path).map_err(|error| {
        CommandError::usage(
            format!("{} cannot be read: {error}", path.display()),
            "name what `dcd history export` wrote",
        )
    })?;
    let mut tar = Archive::new(BufReader::with_capacity(256 << 10, file));
    let mut entries = tar.entries().map_err(|error| no_archive(path, &error.to_string()))?;
    let mut first = entries.next().ok_or_else(|| no_archive(path, "it is empty"))?;
    let listed = first
        .as_mut()
        .map_err(|error| no_archive(path, &error.to_string()))
        .and_then(|entry| list(path, entry))?;
    let mut fates: Vec<(Listed, Fate)> = Vec::new();
    for entry in entries {
        let mut entry = entry.map_err(|error| no_archive(path, &error.to_string()))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let build = archive::id(&name).and_then(|id| listed.get(id));
        let (Some(build), true) = (build, entry.header().entry_type().is_file()) else {
            return Err(no_archive(path, &format!("it holds `{name}`, which is no build of its list")));
        };
        let fate = take(&store, build, &mut entry)?;
        fates.push((build.clone(), fate));
    }
    let found: HashSet<_> = fates.iter().map(|(build, _)| build.id.clone()).collect();
    for missing in listed.values().filter(|build| !found.contains(&build.id)) {
        fates.push((missing.clone(), Fate::Refused("the archive ends before it".to_owned())));
    }
    say(args, &fates)?;
    let refused = fates.iter().any(|(_, fate)| matches!(fate, Fate::Refused(_)));
    Ok(if refused { Exit::Difference } else { Exit::Success })
}

/// The builds that the archive says it holds, by their ids.
fn list<R: Read>(path: &Path, entry: &mut Entry<'_, R>) -> Result<HashMap<String, Listed>, CommandError> {
    if entry.path_bytes().as_ref() != LIST.as_bytes() || entry.size() > LONGEST_LIST {
        return Err(no_archive(path, &format!("it does not begin with {LIST}")));
    }
    let mut text = String::new();
    entry.read_to_string(&mut text).map_err(|error| no_archive(path, &error.to_string()))?;
    // The version alone first: a later list may have another shape.
    let version = serde_json::from_str::<Value>(&text).ok().and_then(|list| list["version"].as_u64());
    if version.is_some_and(|version| version > VERSION.into()) {
        return Err(CommandError::usage(
            format!("{} was written by a later dcd", path.display()),
            "use a dcd that is as new",
        ));
    }
    let list: List =
        serde_json::from_str(&text).map_err(|error| no_archive(path, &format!("{LIST}: {error}")))?;
    Ok(list.builds.into_iter().map(|build| (build.id.clone(), build)).collect())
}

fn take(store: &Store, build: &Listed, journal: &mut impl Read) -> Result<Fate, CommandError> {
    if store.place(&build.id).journal().exists() {
        return Ok(Fate::Known);
    }
    let importing = store.import(journal).map_err(|error| store_error(&error))?;
    let checked = match importing.check() {
        Ok(checked) => checked.build,
        Err(what) => return Ok(Fate::Refused(what)),
    };
    if (&checked.id, &checked.component) != (&build.id, &build.component) {
        return Ok(Fate::Refused("its journal is of another build".to_owned()));
    }
    if !importing.take_in(&build.id, checked.pruned).map_err(|error| store_error(&error))? {
        return Ok(Fate::Known);
    }
    let Some(number) = build.number.or(checked.number) else { return Ok(Fate::Imported(None)) };
    let others = store.builds_numbered(&build.component, number);
    if others.iter().any(|id| *id != build.id) {
        warn(&harmless_line(&format!(
            "{} #{number} is another build here ({}): the one from the archive is found by its id, {}",
            build.component,
            others.join(", "),
            build.id
        )));
        return Ok(Fate::Imported(None));
    }
    store.note_number(&build.component, number, &build.id).map_err(|error| store_error(&error))?;
    Ok(Fate::Imported(Some(number)))
}

fn say(args: &ImportArgs, fates: &[(Listed, Fate)]) -> Result<(), CommandError> {
    if args.json {
        let document = |(build, fate): &(Listed, Fate)| {
            let (word, number, problem) = match fate {
                Fate::Imported(number) => ("imported", *number, None),
                Fate::Known => ("known", build.number, None),
                Fate::Refused(what) => ("refused", build.number, Some(what)),
            };
            json!({
                "id": build.id, "component": build.component, "number": number, "result": word, "problem": problem,
            })
        };
        return print_json(&fates.iter().map(document).collect::<Value>());
    }
    for (build, fate) in fates {
        if let Fate::Refused(what) = fate {
            warn(&harmless_line(&format!("build {} is not imported: {what}", build.id)));
        }
    }
    let of = |fits: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| fits(fate)).count();
    let imported = of(|fate| matches!(fate, Fate::Imported(_)));
    let known = of(|fate| *fate == Fate::Known);
    let known = if known == 0 { String::new() } else { format!("; {} were here", count(known)) };
    print(&format!("imported {}{known}\n", count(imported)))
}

fn no_archive(path: &Path, what: &str) -> CommandError {
    CommandError::usage(
        harmless_line(&format!("{} is no archive of builds: {what}", path.display())),
        "name what `dcd history export` wrote",
    )
}
