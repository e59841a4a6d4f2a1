//! `dcd history list`

use serde_json::Value;

use crate::{
    cli::ListArgs,
    commands::{
        builds::{Builds, Criteria, Found},
        output::{hint, print, print_json},
    },
    error::{CommandError, Exit},
    report::{self, Style, Summary},
};

pub(super) fn list(args: &ListArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let mut criteria = Criteria::new(&args.filter, args.source.component.clone());
    if let Some(before) = &args.before {
        let before = match builds.find(before)? {
            Found::Remote(summary) => *summary,
            found @ Found::Local(_) => Summary::of(&builds.read(&found)?),
        };
        criteria.before = Some((before.started_at, before.id));
    }
    let is_any = criteria == Criteria::default();
    // One more says whether there are more.
    let mut found: Vec<_> =
        builds.newest(&criteria, args.limit.saturating_add(1))?.take(args.limit.saturating_add(1)).collect();
    let more = found.len() > args.limit;
    found.truncate(args.limit);
    if args.json {
        print_json(&found.iter().map(Summary::document).collect::<Value>())?;
    } else if !found.is_empty() || more {
        print(&report::list(&found, Style::of(&std::io::stdout())))?;
    } else if is_any {
        print("There are no builds here yet. Make one: dcd run\n")?;
    } else {
        print("No build fits.\n")?;
    }
    if let (true, Some(last)) = (more, found.last()) {
        hint(&format!("there are older ones: dcd history list --before {}", last.id));
    }
    Ok(Exit::Success)
}
