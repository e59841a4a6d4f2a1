//! `dcd history`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{Span, Timestamp, ToSpan, Zoned, civil::Date, tz::TimeZone};

/// `dcd history`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// List builds, newest first
    List(ListArgs),
    /// Show one build: its steps, and what was recorded of where it ran
    Show(ShowArgs),
    /// Print what a build's steps printed, byte for byte; with --follow while they print it
    Logs(LogsArgs),
    /// Say what differs between two builds
    Diff(DiffArgs),
    /// Count builds: how many pass, how long they take, which steps and tests are slow, flaky or failing
    Stats(StatsArgs),
    /// Drop what old builds printed, and keep everything else of them
    Prune(PruneArgs),
    /// Write builds into a file, for another workspace
    Export(ExportArgs),
    /// Take builds from such a file into this workspace
    Import(ImportArgs),
    /// Check that a build's events are those that happened: whole, unchanged and in their order
    Verify(VerifyArgs),
    /// Send the builds that the history backend was to have and lacks
    Sync(SyncArgs),
}

/// Where to look for builds.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The pipeline file whose history backend is asked, too
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// Look only at the builds that are in this workspace
    #[arg(long)]
    pub local: bool,
    /// Only builds of this component
    #[arg(long, value_name = "NAME")]
    pub component: Option<String>,
}

/// Which builds.
#[derive(Debug, Default, Args)]
pub struct FilterArgs {
    /// Only builds that ended so: success, failure, error, timeout, cancellation; or running. May be repeated
    #[arg(long = "outcome", value_name = "OUTCOME", value_enum, hide_possible_values = true)]
    pub outcomes: Vec<OutcomeArg>,
    /// Only builds of this branch
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Only builds of the commit that begins so
    #[arg(long, value_name = "SHA")]
    pub commit: Option<String>,
    /// Only builds that this user asked for
    #[arg(long, value_name = "USER")]
    pub author: Option<String>,
    /// Only builds that started since: a date, a time (RFC 3339), or so long ago, as 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<u64>,
    /// Only builds that started until then; a date counts to its end
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<u64>,
    /// Only builds with this text in pipeline, component, branch, commit, user, reason or a step's name
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
}

/// `--outcome`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutcomeArg {
    /// It did what it should.
    Success,
    /// The work said no.
    Failure,
    /// DCD, its environment or a plugin could not do its job; the runner was lost.
    Error,
    /// It took longer than it was allowed to.
    Timeout,
    /// Somebody stopped it.
    Cancellation,
    /// It has not ended.
    Running,
}

/// `dcd history list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many builds to list
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Go on after this build, the last of the list before
    #[arg(long, value_name = "BUILD")]
    pub before: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
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
    /// Go on while the build runs, until it ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only what was printed since: a date, a time (RFC 3339), or so long ago, as 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<u64>,
    /// Only the last N lines of what there is; with --follow, and all that comes
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// Print the output as events, one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first build: a number, an id, a unique prefix of an id, or `latest`
    pub a: String,
    /// The second one
    pub b: String,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history prune`. The rules are for each component by itself; what one of them keeps is kept.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Keep what the newest N builds of each component printed
    #[arg(long, value_name = "N", required_unless_present_any = ["keep_days", "keep_successes"])]
    pub keep: Option<usize>,
    /// Keep what the builds of the last D days printed
    #[arg(long, value_name = "D")]
    pub keep_days: Option<u32>,
    /// Keep what the last M builds of each component printed that succeeded
    #[arg(long, value_name = "M")]
    pub keep_successes: Option<usize>,
    /// Say what would be dropped, and drop nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Builds, each a number, an id, a unique prefix of an id, or `latest`; without them, those that fit the filters
    pub builds: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What `dcd history export` wrote
    pub archive: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `dcd history verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A number, an id, a unique prefix of an id, or `latest`
    #[arg(default_value = "latest")]
    pub build: String,
    /// Check every build
    #[arg(long, conflicts_with = "build")]
    pub all: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
}

/// `dcd history sync`
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The pipeline file that names the history backend
    #[arg(long, default_value = "dcd.json", value_name = "FILE")]
    pub file: PathBuf,
    /// Send every build of this workspace that the backend lacks, also those that ran without it
    #[arg(long)]
    pub all: bool,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// The first millisecond of what the text says.
fn since(text: &str) -> Result<u64, String> {
    moment(text, &Zoned::now(), false)
}

/// The first millisecond after it.
fn until(text: &str) -> Result<u64, String> {
    moment(text, &Zoned::now(), true)
}

fn moment(text: &str, now: &Zoned, end: bool) -> Result<u64, String> {
    let unix =
        |at: Timestamp| u64::try_from(at.as_millisecond()).map_err(|_| "that is before 1970".to_owned());
    if let Ok(at) = text.parse::<Timestamp>() {
        return unix(at);
    }
    // A time also reads as a date; what stands behind the date must not be lost.
    if let (10, Ok(date)) = (text.len(), text.parse::<Date>()) {
        let date = if end { date.checked_add(1.day()).unwrap_or(date) } else { date };
        let start = date.to_zoned(now.time_zone().clone()).or_else(|_| date.to_zoned(TimeZone::UTC));
        return start.map_err(|error| error.to_string()).and_then(|at| unix(at.timestamp()));
    }
    let ago = text.parse::<Span>().ok().filter(|span| !span.is_negative());
    let ago = ago.and_then(|span| now.checked_sub(span).ok());
    let ago = ago
        .ok_or("write a date as 2026-01-31, a time as 2026-01-31T12:00:00Z, or how long ago: 7d, 12h, 30m")?;
    unix(ago.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_moments_or_so_long_ago() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = "2026-11-27T12:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        let said = |text, end| {
            let at = moment(text, &now, end)?;
            let at = Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap();
            Ok::<_, String>(at.to_string())
        };
        let cases = [
            ("2026-11-01T10:30:00Z", false, "2026-11-01T10:30:00Z"),
            ("2026-11-01T10:30:00+01:00", true, "2026-11-01T09:30:00Z"),
            ("2026-11-01", false, "2026-10-31T22:00:00Z"),
            ("2026-11-01", true, "2026-11-01T22:00:00Z"),
            ("7d", false, "2026-11-20T12:00:00Z"),
            ("12h", true, "2026-11-27T00:00:00Z"),
            ("1h 30m", false, "2026-11-27T10:30:00Z"),
            ("2w", false, "2026-11-13T12:00:00Z"),
        ];
        for (text, end, at) in cases {
            assert_eq!(said(text, end).as_deref(), Ok(at), "{text}");
        }
        for wrong in ["", "yesterday", "7", "-7d", "2026-13-01", "2026-11-01 10:30"] {
            assert!(said(wrong, false).is_err(), "{wrong}");
        }
    }
}
