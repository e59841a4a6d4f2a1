//! A step type with cases.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    backend::in_workspace as fill,
    compare::{Got, compare, in_workspace},
    environment,
    fake::Fakes,
    is_chosen, read,
    report::{Report, Tested, Verdict},
    temporary::Temporary,
    title, usage,
};
use crate::{
    cli::PluginTestArgs,
    engine::message::{StepContent, StepEnd, StepMessage, Stop},
    error::{CommandError, Exit},
    event::{Problem, StepLog},
    pipeline::{Allow, Case, End, Limits, parse_cases},
    plugin::{
        Grants, Host, Workshop,
        locate::Located,
        step::{StepPlugin, StepRequest},
    },
};

/// Where cases are, unless files are named.
const CASES: &str = "tests";
/// How long a case may take.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn test(args: &PluginTestArgs, directory: &Path, located: &Located) -> Result<Exit, CommandError> {
    if let Some(config) = &args.config {
        return Err(CommandError::usage(
            format!("{} is a step type, which is not opened as {} says", title(located), config.display()),
            "name files of cases instead; each case says its config and grants",
        ));
    }
    let mut cases = Vec::new();
    for file in files(args, directory)? {
        let help = "name a file of cases: [{ \"name\": \"…\", \"with\": { … }, \"expect\": { … } }]";
        let name = file.display().to_string();
        let all = read(directory, &file, help, parse_cases)?;
        cases.extend(
            all.into_iter().filter(|case| is_chosen(args, &case.name)).map(|case| (name.clone(), case)),
        );
    }
    if cases.is_empty() {
        return Err(CommandError::usage(
            "--only: no case has such a name",
            "the files of cases say which there are",
        ));
    }
    let host = Host::new().map_err(environment)?;
    let nothing = Grants::new(&located.manifest, &Allow::default(), &Limits::default(), directory);
    let plugin = StepPlugin::load(&host, located, nothing).map_err(environment)?;
    let width = cases.iter().map(|(_, case)| case.name.chars().count()).max().unwrap_or_default();
    let mut report = Report::new(args, width);
    for (file, case) in cases {
        let start = Instant::now();
        let wrong = run(&host, &plugin, located, &case)?;
        let verdict = if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed(wrong) };
        report.add(Tested { name: case.name, about: file, verdict, took: start.elapsed() })?;
    }
    report.end(located, serde_json::json!({}))
}

fn files(args: &PluginTestArgs, directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !args.cases.is_empty() {
        return Ok(args.cases.clone());
    }
    let entries = fs::read_dir(directory.join(CASES)).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| Path::new(CASES).join(entry.file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() {
        return Err(CommandError::usage(
            format!("there are no cases in {}", directory.join(CASES).display()),
            "name files of cases: dcd plugin test PLUGIN.wasm FILE…; `dcd plugin new step NAME` makes a first one",
        ));
    }
    Ok(files)
}

/// Runs one case; gives what is wrong.
fn run(
    host: &Host,
    plugin: &StepPlugin,
    located: &Located,
    case: &Case,
) -> Result<Vec<String>, CommandError> {
    let unwritable = |what: &str, error: std::io::Error| {
        CommandError::environment(format!("cannot write {what} of the case `{}`: {error}", case.name))
    };
    let temporary = Temporary::new().map_err(|error| unwritable("the workspace", error))?;
    // Programs are not taken from the workspace, so they are beside it.
    let (workspace, bin) = (temporary.path().join("workspace"), temporary.path().join("bin"));
    let workspace = workspace.as_path();
    fs::create_dir(workspace).map_err(|error| unwritable("the workspace", error))?;
    let fakes = Fakes::new(case, &bin).map_err(|error| unwritable("the programs", error))?;
    for (path, text) in &case.files {
        let inside =
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(CommandError::usage(
                format!("the case `{}` has the file {path}, which is not in the workspace", case.name),
                "name it relative to the workspace, without `..`",
            ));
        }
        let file = workspace.join(path);
        let parent = file.parent().unwrap_or(workspace);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| unwritable(path, error))?;
    }
    let grants = Grants::new(&located.manifest, &case.allow, &Limits::default(), workspace);
    let plugin = plugin.rehearsal(&located.manifest, grants, fakes.clone());
    let with = fill(case.with.clone(), workspace);
    let refused = plugin.check(&with).map_err(usage)?;
    let mut workshop = Workshop::new(fakes.clone(), case.env.clone(), workspace.to_owned());
    workshop.path = Some(bin.into());
    let mut got = if refused.is_empty() {
        match attempt(host, &plugin, case, with.value.to_string(), workspace, workshop) {
            Ok(got) => got,
            Err(why) => return Ok(vec![why]),
        }
    } else {
        let problems =
            refused.into_iter().map(|error| said(&Problem { message: error.message, help: error.help }));
        let problem = problems.collect::<Vec<_>>().join("\n");
        Got { end: End::Refused, problem, ..Got::default() }
    };
    let asked = fakes.asked();
    got.commands = asked.commands;
    got.requests = asked.requests;
    let texts = [&mut got.summary, &mut got.output, &mut got.problem, &mut got.log];
    for text in texts.into_iter().chain(&mut got.commands) {
        *text = in_workspace(text, workspace);
    }
    Ok(compare(&case.expect, &got, workspace))
}

/// Runs the step as a build does.
fn attempt(
    host: &Host,
    plugin: &StepPlugin,
    case: &Case,
    config: String,
    workspace: &Path,
    workshop: Workshop,
) -> Result<Got, String> {
    let request = StepRequest {
        config,
        build_id: uuid::Uuid::now_v7().to_string(),
        build_number: Some(1),
        component: "test".to_owned(),
        step_name: "test".to_owned(),
        attempt: 1,
        env: case.env.clone(),
        secrets: Arc::new(
            case.secrets.iter().map(|(name, value)| (name.clone(), Ok(value.clone()))).collect(),
        ),
        own_secrets: Vec::new(),
        workshop,
        has_timeout: true,
        workspace: workspace.display().to_string(),
        inputs: case
            .inputs
            .iter()
            .map(|(step, name, value)| (step.clone(), name.clone(), value.to_string()))
            .collect(),
        facts: case.facts.to_string(),
    };
    let (messages, mut said) = mpsc::channel(64);
    let (control, orders) = mpsc::unbounded_channel();
    if case.cancel {
        // It listens as long as it runs.
        let _ = control.send(Stop::Grace);
    }
    plugin.start(request, 0, messages, orders);
    let mut heard = Heard::default();
    let hearing = async {
        while let Some(StepMessage { content, .. }) = said.recv().await {
            if let Some(end) = heard.hear(content) {
                return Some(end);
            }
        }
        None
    };
    let end = host.block_on(async { tokio::time::timeout(LIMIT, hearing).await });
    match end {
        Ok(Some(end)) => Ok(heard.got(end)),
        Ok(None) => Err("the step ended without a word".to_owned()),
        Err(_) => {
            let _ = control.send(Stop::Kill);
            Err(format!("it took longer than {} s, and was stopped", LIMIT.as_secs()))
        }
    }
}

/// What a step said so far.
#[derive(Default)]
struct Heard {
    output: Vec<u8>,
    log: String,
}

impl Heard {
    fn hear(&mut self, content: StepContent) -> Option<StepEnd> {
        match content {
            StepContent::Output(bytes) => self.output.extend_from_slice(&bytes),
            StepContent::Log(StepLog { level, message, .. }) => {
                self.log.push_str(&format!("{level}: {message}\n"));
            }
            StepContent::Finished(end) => return Some(*end),
            // Not of interest, or not a plugin's.
            StepContent::Used(_)
            | StepContent::Artifacts(_)
            | StepContent::Tests(_)
            | StepContent::Held
            | StepContent::Shell { .. } => {}
        }
        None
    }

    fn got(self, end: StepEnd) -> Got {
        Got {
            end: End::Outcome(end.outcome),
            outputs: end.outputs,
            summary: end.summary.unwrap_or_default(),
            output: String::from_utf8_lossy(&self.output).into_owned(),
            problem: end.problem.as_ref().map(said).unwrap_or_default(),
            log: self.log,
            ..Got::default()
        }
    }
}

/// As it is shown.
fn said(problem: &Problem) -> String {
    match &problem.help {
        Some(help) => format!("{}\nhelp: {help}", problem.message),
        None => problem.message.clone(),
    }
}
