//! `dcd history diff`

use serde_json::json;

use crate::{
    analysis::Diff,
    cli::DiffArgs,
    commands::{
        builds::Builds,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    report::{self, Style, Summary},
};

pub(super) fn diff(args: &DiffArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let mut read = |build: &str| builds.find(build).and_then(|found| builds.read(&found));
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let diff = Diff::of(&a, &b);
    if args.json {
        let mut document = json!(diff);
        document["a"] = Summary::of(&a).document();
        document["b"] = Summary::of(&b).document();
        document["different"] = json!(!diff.is_empty());
        print_json(&document)?;
    } else {
        print(&report::diff(&a, &b, &diff, Style::of(&std::io::stdout())))?;
    }
    Ok(if diff.is_empty() { Exit::Success } else { Exit::Difference })
}
