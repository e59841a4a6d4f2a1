//! `dcd plugin inspect`

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{blocks, optional_pipeline, summary, wrong};
use crate::{
    cli::InspectArgs,
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
    plugin::{
        self, Ask, Host, grants_file,
        locate::{Located, Locator},
    },
    text::harmless_line,
};

/// What a plugin has, and from where.
struct Granted {
    /// All of it, kind by kind.
    all: BTreeMap<String, Vec<String>>,
    /// That which the image grants.
    image: BTreeMap<String, Vec<String>>,
}

pub(super) fn inspect(args: &InspectArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let pipeline = optional_pipeline(&workspace, &args.file)?;
    let is_file = Path::new(&args.plugin).extension().is_some_and(|extension| extension == "wasm");
    let locator = Locator::new(&workspace, blocks(pipeline.as_ref()));
    let located = if is_file || args.plugin.contains('/') {
        locator.read(&workspace.join(&args.plugin))
    } else {
        locator.find(&args.plugin, &(0..0)).and_then(Located::verified)
    };
    let located = located.map_err(wrong)?;
    let block = blocks(pipeline.as_ref()).get(&located.manifest.name);
    let image = located.image.as_ref();
    let all = grants_file::effective(&located.manifest, image, block, &workspace, &(0..0)).map_err(wrong)?;
    let image = grants_file::of_image(&located, &workspace).describe();
    let granted =
        (pipeline.is_some() || located.image.is_some()).then(|| Granted { all: all.describe(), image });
    let asked = (args.describe && located.config_schema().is_none()).then(|| {
        let host = Host::new()?;
        plugin::config_schema(&host, &located)
    });
    let asked = asked.transpose().map_err(wrong)?;
    let schema = asked.as_ref().or(located.config_schema());
    if args.json {
        print_json(&document(&located, granted.as_ref(), schema))?;
    } else {
        print(&page(&located, granted.as_ref(), schema))?;
    }
    Ok(Exit::Success)
}

fn document(located: &Located, granted: Option<&Granted>, schema: Option<&Value>) -> Value {
    let mut document = summary(located);
    document["asks"] = json!(located.manifest.asks);
    document["imports"] = json!(located.imports);
    document["grants"] = json!(granted.map(|granted| &granted.all));
    document["image_grants"] = json!(granted.map(|granted| &granted.image));
    document["grants_file"] = json!(located.image.as_ref().map(|image| &image.path));
    document["locked"] = json!(located.image.as_ref().is_some_and(|image| image.file.locked));
    document["config_schema"] = json!(schema);
    document
}

fn page(located: &Located, granted: Option<&Granted>, schema: Option<&Value>) -> String {
    let manifest = &located.manifest;
    let mut page = format!("{} {}\n", manifest.name, manifest.version);
    let mut row = |name: &str, value: &str| page.push_str(&format!("  {name:<9} {}\n", harmless_line(value)));
    row("kind", manifest.kind.as_str());
    row("api", &manifest.api);
    row("file", &located.path.display().to_string());
    row("size", &format!("{} bytes", located.size));
    row("sha256", &located.sha256);
    row("installed", &located.compiled());
    if let Some(image) = &located.image {
        let locked = if image.file.locked { ", locked: no pipeline adds to it" } else { "" };
        row("grants", &format!("{}{locked}", image.path.display()));
    }
    // What it can do with a program is more than all else together.
    let (programs, rest): (Vec<_>, Vec<_>) = manifest.asks.iter().partition(|ask| ask.kind == "exec");
    for ask in programs {
        row("asks", &asks(ask, granted));
        row(
            "",
            "a program in a step can do all that this container can: its files, its network, the Docker socket if \
             there is one",
        );
    }
    for ask in rest {
        row("asks", &asks(ask, granted));
    }
    if manifest.asks.is_empty() {
        row("asks", "for nothing");
    }
    match schema {
        Some(schema) => settings(schema).iter().for_each(|setting| row("config", setting)),
        None => row("config", "not known before it is installed; --describe runs it, to ask it"),
    }
    for import in &located.imports {
        row("imports", import);
    }
    page
}

/// What a plugin asks for, and what it has of that.
fn asks(ask: &Ask, granted: Option<&Granted>) -> String {
    let list = granted.and_then(|granted| granted.all.get(&ask.kind));
    let image = granted.and_then(|granted| granted.image.get(&ask.kind));
    let from = |grant: &String| {
        let by_image = image.is_some_and(|image| image.contains(grant));
        if by_image { format!("{grant} (by the image)") } else { grant.clone() }
    };
    let given =
        list.map_or_else(|| "none".to_owned(), |list| list.iter().map(from).collect::<Vec<_>>().join(", "));
    format!("{} ({}): granted {given}", ask.kind, ask.reason)
}

/// The settings of a config, a line each.
fn settings(schema: &Value) -> Vec<String> {
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
    };
    let setting = |(name, property): (&String, &Value)| {
        let must = if required(name) { " (required)" } else { "" };
        let description =
            property["description"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
        format!("{name}{must}{description}")
    };
    let lines: Vec<_> = schema["properties"].as_object().into_iter().flatten().map(setting).collect();
    if lines.is_empty() { vec!["no settings of its own; --json has the schema".to_owned()] } else { lines }
}
