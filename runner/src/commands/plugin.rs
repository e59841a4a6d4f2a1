//! `dcd plugin`

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    cli::{InspectArgs, PluginCommand, PluginListArgs},
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    pipeline::{Pipeline, PluginBlock},
    plugin::{
        PluginError,
        locate::{self, Located, Locator},
    },
    text::harmless_line,
};

pub(super) fn plugin(command: PluginCommand) -> Result<Exit, CommandError> {
    match command {
        PluginCommand::List(args) => list(&args),
        PluginCommand::Inspect(args) => inspect(&args),
    }
}

fn list(args: &PluginListArgs) -> Result<Exit, CommandError> {
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
                    "{} {}  {}  {}",
                    manifest.name,
                    manifest.version,
                    manifest.kind.as_str(),
                    path.display()
                );
                print(&format!("{}\n", harmless_line(&line)))?;
            }
            Err(error) => print(&format!("!! {}\n", harmless_line(&error.message)))?,
        }
    }
    Ok(Exit::Success)
}

fn inspect(args: &InspectArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let pipeline = optional_pipeline(&workspace, &args.file)?;
    let is_file = Path::new(&args.plugin).extension().is_some_and(|extension| extension == "wasm");
    let located = if is_file || args.plugin.contains('/') {
        locate::read(&workspace.join(&args.plugin))
    } else {
        Locator::new(&workspace, blocks(pipeline.as_ref())).find(&args.plugin, &(0..0))
    };
    let located = located.map_err(|error| {
        let mut shown = CommandError::usage(error.message, "");
        shown.help = error.help;
        shown
    })?;
    let granted = pipeline.as_ref().map(|pipeline| load::grants(&located, pipeline, &workspace).describe());
    if args.json {
        let mut document = summary(&located);
        document["asks"] = json!(located.manifest.asks);
        document["imports"] = json!(located.imports);
        document["grants"] = json!(granted);
        print_json(&document)?;
    } else {
        print(&page(&located, granted.as_ref()))?;
    }
    Ok(Exit::Success)
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

fn summary(located: &Located) -> Value {
    json!({
        "name": located.manifest.name,
        "version": located.manifest.version,
        "kind": located.manifest.kind,
        "api": located.manifest.api,
        "path": located.path,
        "sha256": located.sha256,
        "size": located.bytes.len(),
    })
}

fn page(located: &Located, granted: Option<&BTreeMap<String, Vec<String>>>) -> String {
    let manifest = &located.manifest;
    let mut page = format!("{} {}\n", manifest.name, manifest.version);
    let mut row = |name: &str, value: &str| page.push_str(&format!("  {name:<8} {}\n", harmless_line(value)));
    row("kind", manifest.kind.as_str());
    row("api", &manifest.api);
    row("file", &located.path.display().to_string());
    row("size", &format!("{} bytes", located.bytes.len()));
    row("sha256", &located.sha256);
    for ask in &manifest.asks {
        let given = granted.and_then(|granted| granted.get(&ask.kind));
        let given =
            given.map_or_else(|| "granted none".to_owned(), |list| format!("granted {}", list.join(", ")));
        row("asks", &format!("{} ({}): {given}", ask.kind, ask.reason));
    }
    if manifest.asks.is_empty() {
        row("asks", "for nothing");
    }
    for import in &located.imports {
        row("imports", import);
    }
    page
}
