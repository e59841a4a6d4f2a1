//! `dcd plugin inspect`

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use super::{blocks, optional_pipeline, summary};
use crate::{
    cli::InspectArgs,
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    plugin::locate::{self, Located, Locator},
    text::harmless_line,
};

pub(super) fn inspect(args: &InspectArgs) -> Result<Exit, CommandError> {
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
