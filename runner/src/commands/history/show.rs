//! `dcd history show`

use crate::{
    cli::ShowArgs,
    commands::{
        builds::Builds,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    report::{self, Style},
};

pub(super) fn show(args: &ShowArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let found = builds.find(&args.build)?;
    let build = builds.read(&found)?;
    if args.json {
        print_json(&report::document(&build))?;
    } else {
        print(&report::show(&build, Style::of(&std::io::stdout())))?;
    }
    Ok(Exit::Success)
}
