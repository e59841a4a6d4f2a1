//! `dcd plugin test`

mod backend;
mod compare;
mod fake;
mod race;
mod report;
mod steps;
mod temporary;

use std::path::Path;

use crate::{
    cli::PluginTestArgs,
    commands::load,
    error::{CommandError, Exit},
    pipeline::Wrong,
    plugin::{
        Kind, PluginError,
        locate::{self, Located},
    },
};

pub(super) fn test(args: &PluginTestArgs) -> Result<Exit, CommandError> {
    let directory = load::workspace()?;
    if let (Some(builds), Some(component), Some(workspace)) = (args.begin, &args.component, &args.workspace) {
        return race::begin(args, &directory, builds, component, workspace);
    }
    let located = locate::read(&directory.join(&args.plugin)).map_err(usage)?;
    match located.manifest.kind {
        Kind::StepType => steps::test(args, &directory, &located),
        Kind::HistoryBackend => backend::test(args, &directory, &located),
        Kind::BuildObserver => Err(CommandError::usage(
            format!("{} is a build observer, and `dcd plugin test` has no cases for those", title(&located)),
            "test its logic with `cargo test`, and the whole in a pipeline that names it in `observers`",
        )),
    }
}

/// The name and version, for a headline.
fn title(located: &Located) -> String {
    format!("{} {}", located.manifest.name, located.manifest.version)
}

fn usage(error: PluginError) -> CommandError {
    CommandError { help: error.help, ..CommandError::usage(error.message, "") }
}

fn environment(error: PluginError) -> CommandError {
    CommandError { help: error.help, ..CommandError::environment(error.message) }
}

/// Reads a file of tests.
fn read<T>(
    directory: &Path,
    file: &Path,
    help: &str,
    parse: fn(&str, &str) -> Result<T, Wrong>,
) -> Result<T, CommandError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(directory.join(file))
        .map_err(|error| CommandError::usage(format!("cannot read {name}: {error}"), help))?;
    parse(&text, &name).map_err(|wrong| load::rendered(&wrong.diagnostics, &wrong.sources))
}

/// Whether a test of this name is asked for.
fn is_chosen(args: &PluginTestArgs, name: &str) -> bool {
    args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()))
}
