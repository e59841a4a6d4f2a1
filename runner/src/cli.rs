//! What is typed: the commands and their arguments, and nothing else.

mod history;
mod plugin;

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use history::{
    DiffArgs, ExportArgs, FilterArgs, HistoryCommand, ImportArgs, ListArgs, LogsArgs, OutcomeArg, PruneArgs,
    ShowArgs, SourceArgs, StatsArgs, SyncArgs, VerifyArgs,
};
pub use plugin::{
    AllowArgs, GrantArg, InspectArgs, InstallArgs, ManifestArgs, NewArgs, NewKind, PluginCommand,
    PluginListArgs, PluginTestArgs,
};

const FIRST_STEPS: &str = "\
First steps:
  1. Write dcd.json:   dcd init, or: {\"steps\": [{\"name\": \"test\", \"run\": \"make test\"}]}
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
    /// Run again what did not succeed in a build, as a new build
    Retry(RetryArgs),
    /// Show what would run, in which order, and why
    Plan(PlanArgs),
    /// Open a shell where a step of a build ran: its directory, its environment
    Shell(ShellArgs),
    /// Check a pipeline file, and the plugins that it uses, without running anything
    Validate(ValidateArgs),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Write a first pipeline, an image for it and the script `dcd` that runs it
    Init(InitArgs),
    /// Look at builds
    #[command(subcommand, arg_required_else_help = true)]
    History(HistoryCommand),
    /// Look at the locks that builds hold and wait for
    #[command(subcommand, arg_required_else_help = true)]
    Lock(LockCommand),
    /// Look at plugins, and write them
    #[command(subcommand, arg_required_else_help = true)]
    Plugin(PluginCommand),
    /// Check that dcd can do its work here, and say what to do where it cannot
    Doctor(DoctorArgs),
    /// Print a script that completes dcd's commands and options in a shell
    Completions(CompletionsArgs),
}

/// `dcd run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file
    #[arg(default_value = "dcd.json")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub params: ParamArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub select: SelectArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: HowArgs,
}

/// `dcd retry`
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// A number, an id, a unique prefix of an id, or `latest`
    #[arg(default_value = "latest")]
    pub build: String,
    /// Run also when the commit, the changes in the work tree, the image or the pipeline differ from that build's
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: HowArgs,
}

/// `dcd plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The pipeline file
    #[arg(default_value = "dcd.json")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub params: ParamArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub select: SelectArgs,
    /// Print the graph of the steps instead, for Mermaid or Graphviz
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub graph: Option<GraphFormat>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `dcd shell`
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// A number, an id, a unique prefix of an id, or `latest`
    pub build: String,
    /// The step
    pub step: String,
}

/// Values for the pipeline's params.
#[derive(Debug, Args)]
pub struct ParamArgs {
    /// Give a param a value; may be repeated
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub params: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Which steps are run. A step is named by its name; without the values in brackets it means its whole matrix, and the
/// name of a step that uses a file means all steps of that file. `*` stands for any part of a name.
#[derive(Debug, Default, Args)]
pub struct SelectArgs {
    /// Run only this step, without those that it needs; may be repeated
    #[arg(long, value_name = "STEP")]
    pub only: Vec<String>,
    /// Leave this step out; may be repeated
    #[arg(long, value_name = "STEP")]
    pub skip: Vec<String>,
    /// Run this step and all that need it, directly or through others
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
}

/// How steps are run.
#[derive(Debug, Args)]
pub struct HowArgs {
    /// How many steps may run at the same time [default: the number of CPUs]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Stop everything at the first failure that counts
    #[arg(long, overrides_with = "keep_going")]
    pub fail_fast: bool,
    /// After a failure go on with the steps that do not need what failed (the default)
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
    /// When a step fails: `shell` opens a shell where it failed; in a terminal only
    #[arg(long, value_name = "ACTION", hide_possible_values = true)]
    pub on_fail: Option<OnFail>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shown: ShownArgs,
}

/// `--on-fail`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFail {
    /// Open a shell where the step failed, and go on when it is left; in a terminal only
    Shell,
}

/// `--graph`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, as Markdown pages show it
    Mermaid,
    /// DOT, for Graphviz
    Dot,
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

/// `dcd init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// What your image is to be called; else a name beside the repository's remote, or one under localhost/
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// The image with your project's tools, which yours is built upon; else one that fits the project
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<String>,
    /// The image that /dcd is copied from; else the released one of this version
    #[arg(long, value_name = "IMAGE")]
    pub stock: Option<String>,
    /// Say which files would be written, and write none
    #[arg(long)]
    pub dry_run: bool,
}

/// `dcd doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The pipeline file
    #[arg(default_value = "dcd.json")]
    pub file: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `dcd completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Whose script to print
    pub shell: clap_complete::Shell,
}

/// `dcd lock`
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// List the locks that are held, and who waits for them
    List(LockListArgs),
    /// Take a lock of the history backend from the build that holds it, which is then stopped
    Break(LockBreakArgs),
}

/// `dcd lock list`
#[derive(Debug, Args)]
pub struct LockListArgs {
    /// The pipeline file whose history backend is asked, too
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// List only the locks of this machine
    #[arg(long)]
    pub local: bool,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `dcd lock break`
#[derive(Debug, Args)]
pub struct LockBreakArgs {
    /// The lock's name
    pub name: String,
    /// Whose place in the queue to take instead of the holder's: the build's id, or a unique prefix of it
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,
    /// The pipeline file whose history backend keeps the lock
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
}
