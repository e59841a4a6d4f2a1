//! The rule of the house: dependencies point inwards. `ARCHITECTURE.md` has the picture.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

const CORE: &[&str] = &[
    "analysis",
    "brief",
    "build",
    "chain",
    "event",
    "facts",
    "output_file",
    "pipeline",
    "redact",
    "text",
    "trace",
    "zone",
];
/// What every adapter may use beside the core.
const SHARED: &[&str] = &["owner"];
const ADAPTERS: &[&str] = &[
    "docker", "exec", "git", "history", "host", "journal", "lock", "plugin", "products", "report", "signal",
];

/// Why `module` must not use `crate::path`, if it must not.
fn objection(module: &str, path: &str) -> Option<&'static str> {
    let used = path.split("::").next().unwrap_or_default();
    let inner = used == module || CORE.contains(&used);
    match module {
        "lib" | "main" | "commands" => None,
        "cli" => Some("`cli` says what was typed, and needs nothing else of ours"),
        "error" if !inner && used != "report" => Some("`error` prints, and needs only the core and `report`"),
        "engine" if !inner => Some("`engine` imports only the core"),
        _ if [CORE, SHARED].concat().contains(&module) && !inner => {
            Some("the core imports nothing of ours outside itself")
        }
        _ if ADAPTERS.contains(&module) && !inner => {
            let is_port = SHARED.contains(&used)
                || ["engine::ports", "engine::message"].iter().any(|port| path.starts_with(port));
            (!is_port).then_some("an adapter imports only the core, `owner` and `engine::{ports, message}`")
        }
        _ if [CORE, SHARED, ADAPTERS, &["error", "engine"]].concat().contains(&module) => None,
        _ => Some("a new module needs its place in this test's lists"),
    }
}

/// Every `a::b` that the text uses as `crate::a::b`, also in braces.
fn uses(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(rest.split(|c| !is_path(c)).next().unwrap_or_default().to_owned());
            continue;
        };
        // What stands before each open brace, and the path that is being read.
        let (mut before, mut name) = (vec![String::new()], String::new());
        for c in group.chars() {
            match c {
                '{' => before.push(std::mem::take(&mut name)),
                ',' | '}' => {
                    let path = std::mem::take(&mut name);
                    if !path.is_empty() {
                        found.push(before.concat() + &path);
                    }
                    if c == '}' {
                        before.pop();
                    }
                }
                c if is_path(c) => name.push(c),
                _ => {}
            }
            if before.is_empty() {
                break;
            }
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

fn check(directory: &Path, module: Option<&str>, wrong: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = module.unwrap_or(stem);
        if path.is_dir() {
            check(&path, Some(module), wrong);
            continue;
        }
        for used in uses(&fs::read_to_string(&path).unwrap()) {
            if let Some(rule) = objection(module, &used) {
                wrong.push(format!("{} uses crate::{used}: {rule}", path.display()));
            }
        }
    }
}

#[test]
fn dependencies_point_inwards() {
    let mut wrong = Vec::new();
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn uses_are_found() {
    let found = uses(
        "use crate::a::B;
use crate::{
 c::{D, e},
 f::G,
};
// crate::h
crate::i::j()",
    );
    assert_eq!(found, ["a::B", "c::D", "c::e", "f::G", "i::j"]);
    assert!(objection("plugin", "error::chain").is_some() && objection("plugin", "engine::ports").is_none());
}
