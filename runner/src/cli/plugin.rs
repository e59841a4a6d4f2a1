//! `dcd plugin`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::name_and_value;

/// `dcd plugin`
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins that can be used here
    List(PluginListArgs),
    /// Show what a plugin is, what it asks for and what it is granted, without running it
    Inspect(InspectArgs),
    /// Put plugins into the plugin directory: checked, granted what they may touch, and compiled ahead of time
    Install(InstallArgs),
    /// Add to what the image grants a plugin that is in the plugin directory
    Allow(AllowArgs),
    /// Begin a plugin: make a project in Rust that builds and passes its tests
    New(NewArgs),
    /// Test a plugin through the real host: a step type with cases, a history backend with all that is expected of one
    Test(PluginTestArgs),
    /// Add the manifest to a component that was built without the SDK
    Manifest(ManifestArgs),
}

/// `dcd plugin manifest`
#[derive(Debug, Args)]
pub struct ManifestArgs {
    /// The component, a `.wasm` file; it is changed in place
    pub file: PathBuf,
    /// What pipelines call it
    #[arg(long)]
    pub name: String,
    /// The plugin's own version
    #[arg(long = "plugin-version", value_name = "VERSION", default_value = "0.1.0")]
    pub version: String,
    /// `step-type`, `history-backend` or `build-observer`
    #[arg(long, default_value = "step-type")]
    pub kind: String,
    /// One line that says what it does
    #[arg(long, default_value = "")]
    pub summary: String,
    /// What it wants to be granted, and what for: `http="to send the request"`. The kinds are http, tcp, env, fs, exec
    /// and secrets. May be given many times
    #[arg(long = "ask", value_name = "KIND=REASON")]
    pub asks: Vec<String>,
}

/// `dcd plugin list`
#[derive(Debug, Args)]
pub struct PluginListArgs {
    /// The pipeline file whose plugins are listed, too
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `dcd plugin inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A plugin's name, or a `.wasm` file
    pub plugin: String,
    /// The pipeline file that may name the plugin's path and grants
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// Run the plugin to ask it for its config, when it is not installed; it may touch nothing meanwhile
    #[arg(long)]
    pub describe: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `dcd plugin install`
#[derive(Debug, Args)]
// Each is a flag that is typed.
#[allow(clippy::struct_excessive_bools)]
pub struct InstallArgs {
    /// The plugins' `.wasm` files; those that are elsewhere are copied into the plugin directory
    #[arg(required_unless_present = "all", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Install every `.wasm` file of the plugin directory
    #[arg(long)]
    pub all: bool,
    /// Grant a plugin something that it asks for: http=https://HOST, tcp=HOST:PORT, env=NAME, fs=DIR:rw, exec=PROGRAM
    /// or secrets=NAME; with several plugins PLUGIN:KIND=VALUE. May be repeated
    #[arg(long, value_name = "KIND=VALUE", value_parser = grant)]
    pub allow: Vec<GrantArg>,
    /// Let no pipeline grant the plugins more than the image does
    #[arg(long)]
    pub locked: bool,
    /// Accept a file with another digest than the one that the image's grants were written for
    #[arg(long)]
    pub update: bool,
    /// Compile for an image of another architecture: a triple, or amd64 or arm64
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// The plugin directory
    #[arg(long, default_value = "/dcd-plugins", value_name = "DIR")]
    pub dir: PathBuf,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `dcd plugin allow`
#[derive(Debug, Args)]
pub struct AllowArgs {
    /// The plugin's name
    pub plugin: String,
    /// http=https://HOST, tcp=HOST:PORT, env=NAME, fs=DIR:rw, exec=PROGRAM or secrets=NAME
    #[arg(required = true, value_name = "KIND=VALUE", value_parser = name_and_value)]
    pub grants: Vec<(String, String)>,
    /// The plugin directory
    #[arg(long, default_value = "/dcd-plugins", value_name = "DIR")]
    pub dir: PathBuf,
}

/// `--allow`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantArg {
    /// The plugin that it is for, where that is said.
    pub plugin: Option<String>,
    /// `http`, `fs`, ...
    pub kind: String,
    /// What of that kind.
    pub value: String,
}

fn grant(text: &str) -> Result<GrantArg, String> {
    let (kind, value) =
        text.split_once('=').ok_or("write it as KIND=VALUE, for example http=https://api.example.com")?;
    let (plugin, kind) = match kind.split_once(':') {
        Some((plugin, kind)) => (Some(plugin.to_owned()), kind),
        None => (None, kind),
    };
    Ok(GrantArg { plugin, kind: kind.to_owned(), value: value.to_owned() })
}

/// `dcd plugin new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What it is for: `step` for a step type, `history` for a history backend
    #[arg(value_enum, hide_possible_values = true)]
    pub kind: NewKind,
    /// What pipelines will call it
    pub name: String,
    /// Where to make the project; else in a directory of that name
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use the crate dcd-plugin-sdk of this directory; else the released one
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

/// What a new plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NewKind {
    /// A step type.
    Step,
    /// A history backend.
    History,
}

/// `dcd plugin test`
#[derive(Debug, Args)]
pub struct PluginTestArgs {
    /// The plugin's `.wasm` file
    pub plugin: PathBuf,
    /// Files of cases, for a step type; else tests/*.json
    pub cases: Vec<PathBuf>,
    /// How to open a history backend: its config and what it is granted; else tests/backend.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run only the tests that have this in their names; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Instead of testing the backend, begin so many builds and print their numbers: a racer of `numbers-race`
    #[arg(long, hide = true, value_name = "N", requires_all = ["component", "workspace"])]
    pub begin: Option<usize>,
    /// Whose builds `--begin` begins
    #[arg(long, hide = true, value_name = "NAME")]
    pub component: Option<String>,
    /// What `$WORKSPACE` in the backend's config is for `--begin`
    #[arg(long, hide = true, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}
