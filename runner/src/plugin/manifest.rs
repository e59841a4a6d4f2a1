//! What a plugin says of itself, read from its file without compiling or running it.
//!
//! The SDK puts the manifest into a custom section named `dcd:manifest`, which the build leaves in one of the
//! core modules inside the component.

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

use crate::plugin::PluginError;

/// The plugin API that this dcd speaks: any patch release of it.
const API: &str = "dcd:plugin@0.1";
/// The version that a manifest names which is made now.
pub(crate) const API_VERSION: &str = "dcd:plugin@0.1.0";
const SECTION: &str = "dcd:manifest";

/// Which of dcd's worlds a plugin implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs steps.
    StepType,
    /// Keeps builds.
    HistoryBackend,
    /// Follows builds.
    BuildObserver,
}

impl Kind {
    /// The word, as in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::StepType => "step-type",
            Kind::HistoryBackend => "history-backend",
            Kind::BuildObserver => "build-observer",
        }
    }
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The plugin API that it was built for, as `dcd:plugin@0.1.0`.
    pub api: String,
    /// What it is for.
    pub kind: Kind,
    /// What pipelines call it.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it wants to be granted.
    #[serde(default)]
    pub asks: Vec<Ask>,
}

/// A kind of right that a plugin wants, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// `http`, `fs`, ...
    pub kind: String,
    /// For people.
    pub reason: String,
}

/// The manifest and the imports, which together say what a plugin can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    pub(crate) imports: Vec<String>,
}

/// A manifest of any API version, to say which one it is.
#[derive(Deserialize)]
struct AnyVersion {
    api: String,
    #[serde(default)]
    name: String,
}

/// Reads a plugin's file. `file` is what to call it in an error.
pub(crate) fn read(bytes: &[u8], file: &str) -> Result<Contents, PluginError> {
    let no_component = |what: &str| {
        PluginError::new(format!("{file} is not a plugin: {what}"))
            .help("build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that comes out")
    };
    if !Parser::is_component(bytes) {
        let what = if Parser::is_core_wasm(bytes) {
            "it is a core WebAssembly module, not a component"
        } else {
            "it is not a WebAssembly component"
        };
        return Err(no_component(what));
    }
    let mut section = None;
    let mut imports = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| no_component(&format!("its bytes are damaged ({error})")))? {
            Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(custom) if custom.name() == SECTION => {
                section.get_or_insert_with(|| custom.data().to_vec());
            }
            // Only the outermost component's imports are asked of us.
            Payload::ComponentImportSection(reader) if depth == 1 => {
                imports.extend(reader.into_iter().flatten().map(|import| import.name.name.to_owned()));
            }
            _ => {}
        }
    }
    let section = section.ok_or_else(|| {
        PluginError::new(format!(
            "{file} is a component, but not a dcd plugin: it has no `{SECTION}` section"
        ))
        .help("export it with `export_step!` or `export_history!` of the dcd-plugin-sdk crate")
    })?;
    Ok(Contents { manifest: parse(&section, file)?, imports })
}

/// Adds a manifest to a component that was built without one.
pub(crate) fn add(bytes: &[u8], manifest: &str, file: &str) -> Result<Vec<u8>, PluginError> {
    let is_section =
        |payload: &Payload<'_>| matches!(payload, Payload::CustomSection(custom) if custom.name() == SECTION);
    if Parser::new(0).parse_all(bytes).flatten().any(|payload| is_section(&payload)) {
        return Err(PluginError::new(format!("{file} has a manifest already")).help("build it anew"));
    }
    // A custom section: its id, its length, its name and its content. A component may end with one.
    let mut section = Vec::new();
    leb128(SECTION.len(), &mut section);
    section.extend_from_slice(SECTION.as_bytes());
    section.extend_from_slice(manifest.as_bytes());
    let mut with = bytes.to_vec();
    with.push(0);
    leb128(section.len(), &mut with);
    with.extend(section);
    read(&with, file).map(|_| with)
}

fn leb128(mut number: usize, into: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        into.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn parse(section: &[u8], file: &str) -> Result<Manifest, PluginError> {
    let damaged = |error: serde_json::Error| {
        PluginError::new(format!("{file} has a manifest that cannot be read: {error}"))
            .help("rebuild it with the dcd-plugin-sdk crate of this dcd's version")
    };
    let any: AnyVersion = serde_json::from_slice(section).map_err(damaged)?;
    if !speaks(&any.api) {
        let name =
            if any.name.is_empty() { file.to_owned() } else { format!("plugin {} ({file})", any.name) };
        return Err(PluginError::new(format!(
            "{name} was built for the plugin API {}; this dcd {} speaks {API}.*",
            any.api,
            env!("CARGO_PKG_VERSION")
        ))
        .help("rebuild it with dcd-plugin-sdk 0.1, or use a dcd that speaks its API"));
    }
    let manifest: Manifest = serde_json::from_slice(section).map_err(damaged)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    // A build's record calls our own kinds of steps so, and their output is trusted.
    let reserved = matches!(manifest.name.as_str(), "shell" | "exec");
    if manifest.name.is_empty() || reserved || !manifest.name.bytes().all(legal) {
        return Err(PluginError::new(format!(
            "{file} has a name that pipelines cannot use: {:?}",
            manifest.name
        ))
        .help(
            "name the plugin's package with letters, digits, `-` and `_`, and neither `shell` nor `exec`",
        ));
    }
    Ok(manifest)
}

/// Whether a plugin that was built for `api` can be called.
fn speaks(api: &str) -> bool {
    let patch = api.strip_prefix(API).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_patch_of_our_api_is_spoken() {
        let spoken: Vec<_> = [
            "dcd:plugin@0.1.0",
            "dcd:plugin@0.1.17",
            "dcd:plugin@0.2.0",
            "dcd:plugin@0.10.0",
            "dcd:plugin@0.1",
            "x",
        ]
        .into_iter()
        .filter(|api| speaks(api))
        .collect();
        assert_eq!(spoken, ["dcd:plugin@0.1.0", "dcd:plugin@0.1.17"]);
    }

    #[test]
    fn a_manifest_can_be_added_once() {
        // The smallest component there is.
        let component = b"\0asm\x0d\0\x01\0";
        let text = format!(
            r#"{{"api":"dcd:plugin@0.1.0","kind":"step-type","name":"x","version":"1","more":"{}"}}"#,
            "y".repeat(300)
        );
        let with = add(component, &text, "x.wasm").unwrap();
        assert_eq!(read(&with, "x.wasm").unwrap().manifest.name, "x");
        assert_eq!(add(&with, &text, "x.wasm").unwrap_err().message, "x.wasm has a manifest already");
        assert!(add(component, "{}", "x.wasm").unwrap_err().message.contains("manifest that cannot be read"));
        assert!(add(b"\0asm\x01\0\0\0", &text, "x.wasm").unwrap_err().message.contains("core WebAssembly"));
    }

    #[test]
    fn another_api_version_is_a_sentence() {
        let error = parse(br#"{"api":"dcd:plugin@0.9.0","kind":"new","name":"x"}"#, "x.wasm").unwrap_err();
        assert_eq!(
            error.message,
            format!(
                "plugin x (x.wasm) was built for the plugin API dcd:plugin@0.9.0; this dcd {} speaks dcd:plugin@0.1.*",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
