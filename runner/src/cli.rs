//! What is typed: the commands and their arguments, and nothing else.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

const FIRST_STEPS: &str = "\
First steps:
  1. Write dcd.json:   {\"steps\": [{\"name\": \"test\", \"run\": \"make test\"}]}
  2. Run it:           dcd run
  3. See it again:     dcd history show latest";

/// Run your team's pipeline here and now, in your own image, and keep the history of it.
#[derive(Debug, Parser)]
#[command(name = "dcd", version, arg_required_else_help = true, after_help = FIRST_STEPS, propagate_version = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What dcd can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline
    Run(RunArgs),
    /// Check a pipeline file, and the plugins that it uses, without running anything
    Validate(ValidateArgs),
    /// Look at builds
    #[command(subcommand, arg_required_else_help = true)]
    History(HistoryCommand),
    /// Look at plugins
    #[command(subcommand, arg_required_else_help = true)]
    Plugin(PluginCommand),
}

/// `dcd run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file
    #[arg(default_value = "dcd.json")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shown: ShownArgs,
}

/// How a build is shown, and what is written about it.
#[derive(Debug, Args)]
pub struct ShownArgs {
    /// Show the build live, plain or as json; without it: live on a terminal, else plain
    #[arg(long, value_enum, value_name = "MODE", hide_possible_values = true)]
    pub output: Option<OutputMode>,
    /// Write a report, however the build ends: junit=FILE or json=FILE; may be repeated
    #[arg(long = "report", value_name = "KIND=FILE")]
    pub reports: Vec<ReportArg>,
}

/// `--output`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputMode {
    /// What runs, redrawn on a terminal
    Live,
    /// Lines, each with its time and step
    Plain,
    /// Events, one JSON object a line
    Json,
}

/// `--report`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportArg {
    /// What is written.
    pub kind: ReportKind,
    /// Where to, relative to the workspace.
    pub file: PathBuf,
}

/// What a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// `JUnit` XML.
    Junit,
    /// What `dcd history show --json` prints.
    Json,
}

impl FromStr for ReportArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, file) = text.split_once('=').unwrap_or((text, ""));
        let kind = match kind {
            "junit" => ReportKind::Junit,
            "json" => ReportKind::Json,
            _ => return Err("it is junit=FILE or json=FILE".to_owned()),
        };
        if file.is_empty() {
            return Err(format!("say where to: {text}=FILE", text = text.trim_end_matches('=')));
        }
        Ok(ReportArg { kind, file: file.into() })
    }
}

/// `dcd validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The pipeline file
    #[arg(default_value = "dcd.json")]
    pub file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `dcd history`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// List builds, newest first
    List(ListArgs),
    /// Show one build: its steps, and what was recorded of where it ran
    Show(ShowArgs),
    /// Print what a build's steps printed, byte for byte
    Logs(LogsArgs),
}

/// Where to look for builds.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The pipeline file whose history backend is asked, too
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// Look only at the builds that ran in this workspace
    #[arg(long)]
    pub local: bool,
    /// Only builds of this component
    #[arg(long, value_name = "NAME")]
    pub component: Option<String>,
}

/// `dcd history list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many builds to list
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A number, an id, a unique prefix of an id, or `latest`
    #[arg(default_value = "latest")]
    pub build: String,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A number, an id, a unique prefix of an id, or `latest`
    pub build: String,
    /// Only this step's output
    pub step: Option<String>,
    /// Only this try of the step; without it, all of them one after the other
    #[arg(long, value_name = "N", requires = "step")]
    pub attempt: Option<u32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd plugin`
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins that can be used here
    List(PluginListArgs),
    /// Show what a plugin is, what it asks for and what it is granted, without running it
    Inspect(InspectArgs),
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
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}
