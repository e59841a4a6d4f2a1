//! `dcd plugin`

mod allow;
mod inspect;
mod install;
mod list;
mod manifest;
mod new;
mod test;

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    cli::PluginCommand,
    commands::load,
    error::{CommandError, Exit},
    pipeline::{Pipeline, PluginBlock},
    plugin::{PluginError, locate::Located},
};

pub(super) fn plugin(command: PluginCommand) -> Result<Exit, CommandError> {
    match command {
        PluginCommand::List(args) => list::list(&args),
        PluginCommand::Inspect(args) => inspect::inspect(&args),
        PluginCommand::Install(args) => install::install(&args),
        PluginCommand::Allow(args) => allow::allow(&args),
        PluginCommand::New(args) => new::new(&args),
        PluginCommand::Test(args) => test::test(&args),
        PluginCommand::Manifest(args) => manifest::manifest(&args),
    }
}

/// A pipeline file that is not there grants nothing; a wrong one is an error.
fn optional_pipeline(workspace: &Path, file: &Path) -> Result<Option<Pipeline>, CommandError> {
    if !workspace.join(file).exists() {
        return Ok(None);
    }
    load::pipeline(workspace, file).map(|loaded| Some(loaded.pipeline))
}

fn blocks(pipeline: Option<&Pipeline>) -> &BTreeMap<String, PluginBlock> {
    static NONE: BTreeMap<String, PluginBlock> = BTreeMap::new();
    pipeline.map_or(&NONE, |pipeline| &pipeline.plugins)
}

/// What is wrong with a plugin that was named on the command line.
fn wrong(error: PluginError) -> CommandError {
    CommandError { help: error.help, ..CommandError::usage(error.message, "") }
}

fn summary(located: &Located) -> Value {
    json!({
        "name": located.manifest.name,
        "version": located.manifest.version,
        "kind": located.manifest.kind,
        "api": located.manifest.api,
        "path": located.path,
        "sha256": located.sha256,
        "size": located.size,
        "installed": located.state(),
    })
}
