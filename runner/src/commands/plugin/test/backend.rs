//! A history backend against all that is expected of one.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    environment, is_chosen, race, read,
    report::{Report, Tested, Verdict},
    temporary::Temporary,
    title, usage,
};
use crate::{
    cli::PluginTestArgs,
    commands::{load, output::print, secrets},
    engine::ports::backend::BackendError,
    error::{CommandError, Exit},
    pipeline::{BackendSetup, Json, WORKSPACE, parse_backend_setup},
    plugin::{
        Grants, Host,
        backend::HistoryPlugin,
        conformance::{self, CHECKS, Finding},
        locate::Located,
    },
};

/// Where it is said how to open it, unless `--config` says it.
const CONFIG: &str = "tests/backend.json";

pub(super) fn test(args: &PluginTestArgs, directory: &Path, located: &Located) -> Result<Exit, CommandError> {
    if let Some(cases) = args.cases.first() {
        return Err(CommandError::usage(
            format!(
                "{} is a history backend, which takes no cases such as {}",
                title(located),
                cases.display()
            ),
            "say how to open it with --config FILE; what is expected of it is the same for all",
        ));
    }
    let chosen = |name: &str| is_chosen(args, name);
    if !CHECKS.iter().any(|check| chosen(check.name)) {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        return Err(CommandError::usage(
            "--only: no test has such a name",
            format!("there are {}", names.join(", ")),
        ));
    }
    let temporary = Temporary::new().map_err(|error| {
        CommandError::environment(format!("cannot make a directory for the tests: {error}"))
    })?;
    let host = Host::new().map_err(environment)?;
    let plugin = open(&host, args, directory, located, temporary.path())?;
    // As a runner calls its builds' component; on a server that others use, too, nothing else is touched.
    let component = format!("conformance-{}", &uuid::Uuid::now_v7().simple().to_string()[20..]);
    if !args.json {
        print(&format!("{}, with builds of {component}/…\n", title(located)))?;
    }
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut report = Report::new(args, width);
    let mut told = Ok(());
    let tell = |finding: Finding| {
        if told.is_ok() {
            told = report.add(tested(finding));
        }
    };
    let racers = race::racers(&plugin, args, located, temporary.path())?;
    conformance::run(&host, &plugin, &component, &racers, |check| chosen(check.name), tell)
        .map_err(unopened)?;
    told?;
    report.end(located, json!({ "component": component }))
}

/// The plugin, as it is said how to open it.
pub(super) fn open(
    host: &Host,
    args: &PluginTestArgs,
    directory: &Path,
    located: &Located,
    workspace: &Path,
) -> Result<HistoryPlugin, CommandError> {
    let setup = setup(args, directory)?;
    let with = in_workspace(setup.with, workspace);
    let grants = Grants::new(&located.manifest, &setup.allow, &setup.limits, workspace);
    let secrets = secrets::granted(directory, &setup.secrets, &grants);
    let (plugin, wrong) = HistoryPlugin::load(host, located, grants, secrets, &with).map_err(environment)?;
    match wrong.into_iter().next() {
        Some(error) => Err(usage(error)),
        None => Ok(plugin),
    }
}

pub(super) fn unopened(error: BackendError) -> CommandError {
    let help = error
        .help
        .unwrap_or_else(|| format!("how it is opened is said in {CONFIG}, or in a file that --config names"));
    CommandError::environment(format!("the backend cannot be opened: {}", error.message)).help(help)
}

fn tested(finding: Finding) -> Tested {
    let verdict = match finding.verdict {
        conformance::Verdict::Passed => Verdict::Passed,
        conformance::Verdict::Failed(why) => Verdict::Failed(vec![why]),
        conformance::Verdict::Skipped(why) => Verdict::Skipped(why),
    };
    let (name, about) = (finding.check.name.to_owned(), finding.check.about.to_owned());
    Tested { name, about, verdict, took: finding.took }
}

fn setup(args: &PluginTestArgs, directory: &Path) -> Result<BackendSetup, CommandError> {
    let help = "write it like { \"with\": { … }, \"allow\": { … } }, as in a pipeline";
    match &args.config {
        Some(file) => read(directory, file, help, parse_backend_setup),
        None if directory.join(CONFIG).exists() => {
            read(directory, Path::new(CONFIG), help, parse_backend_setup)
        }
        // Some backends need neither config nor grants.
        None => parse_backend_setup("{}", CONFIG)
            .map_err(|wrong| load::rendered(&wrong.diagnostics, &wrong.sources)),
    }
}

/// The config with the directory's path for each `$WORKSPACE` in it.
pub(super) fn in_workspace(mut with: Json, workspace: &Path) -> Json {
    replace(&mut with.value, &workspace.display().to_string());
    with
}

fn replace(value: &mut Value, workspace: &str) {
    match value {
        Value::String(text) => *text = text.replace(WORKSPACE, workspace),
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, workspace)),
        Value::Object(map) => map.values_mut().for_each(|value| replace(value, workspace)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
