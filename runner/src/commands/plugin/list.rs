//! `dcd plugin list`

use serde_json::{Value, json};

use super::{blocks, optional_pipeline, summary};
use crate::{
    cli::PluginListArgs,
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    plugin::{
        PluginError,
        locate::{Located, Locator, State},
    },
    text::harmless_line,
};

pub(super) fn list(args: &PluginListArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let pipeline = optional_pipeline(&workspace, &args.file)?;
    let blocks = blocks(pipeline.as_ref());
    let found = Locator::new(&workspace, blocks).all();
    if args.json {
        let row = |(path, located): &(std::path::PathBuf, Result<Located, PluginError>)| match located {
            Ok(located) => summary(located),
            Err(error) => json!({ "path": path, "error": error.message, "help": error.help }),
        };
        print_json(&found.iter().map(row).collect::<Value>())?;
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        print(
            "There are no plugins here: /dcd-plugins has none, and neither DCD_PLUGIN_PATH nor the pipeline names any.\n",
        )?;
    }
    for (path, located) in &found {
        match located {
            Ok(located) => {
                let manifest = &located.manifest;
                let line = format!(
                    "{} {}  {}  {}  {}",
                    manifest.name,
                    manifest.version,
                    manifest.kind.as_str(),
                    path.display(),
                    match located.state() {
                        State::Fresh => "installed",
                        State::Stale => "installed, but not for this dcd or file",
                        State::Absent => "not installed",
                    }
                );
                print(&format!("{}\n", harmless_line(&line)))?;
            }
            Err(error) => print(&format!("!! {}\n", harmless_line(&error.message)))?,
        }
    }
    Ok(Exit::Success)
}
