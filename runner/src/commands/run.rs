//! `dcd run`

use std::path::Path;

use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    cli::RunArgs,
    commands::{
        collect,
        load::{self, Loaded, Plugins},
        output, print,
        steps::{BuildContext, BuildSteps},
    },
    engine::{BuildEnd, Dispatcher, RunError, StepSpec},
    error::{CommandError, Exit, chain},
    event::{self, Body, BuildNumbered, BuildStarted, Outcome, StepName, StepPlan},
    exec::{Processes, Reaper},
    facts::Facts,
    git,
    journal::{JournalError, Store, StoreError},
    pipeline::{Action, Command, Pipeline, Step},
    report::{Human, Style},
    signal,
};

pub(super) fn run(args: &RunArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let loaded = load::pipeline(&workspace, &args.file)?;
    // While git and Docker answer, plugins are compiled.
    let collecting = collect::start(&workspace);
    let plugins = load::plugins(&workspace, &loaded)?;
    let facts = collecting.finish(&loaded, plugins.records.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::environment(format!("the runtime cannot be started: {error}")))?;
    build(&runtime, &workspace, loaded, plugins, facts)
}

fn build(
    runtime: &Runtime,
    workspace: &Path,
    loaded: Loaded,
    plugins: Plugins,
    facts: Facts,
) -> Result<Exit, CommandError> {
    let _inside = runtime.enter();
    let interrupts = signal::interrupts().map_err(|error| no_signals(&error))?;
    let reaper = Reaper::start(std::process::id() == 1).map_err(|error| no_signals(&error))?;
    let processes = Processes::new(reaper);

    let pipeline = loaded.pipeline;
    let id = Uuid::now_v7().to_string();
    let store = Store::at(workspace);
    let (_, journal) = store.create_build(&id).map_err(|error| journal_error(&error))?;
    let component = component(&pipeline, &facts, workspace);
    let number = store.claim_number(&component, &id).map_err(|error| unwritable(&error))?;
    let context = BuildContext { id, number: Some(number), component, workspace: workspace.to_owned(), facts };

    let opening = [
        started(&pipeline, &context),
        Body::BuildNumbered(BuildNumbered { number, by: "journal".to_owned() }),
        Body::BuildFacts(Box::new(context.facts.clone())),
    ];
    let names = pipeline.steps.iter().map(|step| StepName::from(step.name.value.as_str())).collect();
    let spec = |step: &Step| StepSpec { timeout: step.timeout, continue_on_error: step.continue_on_error };
    let specs = pipeline.steps.iter().map(spec).collect();
    let human = Human::new(output::stdout(), Style::of(&std::io::stdout()));
    let steps = BuildSteps::new(pipeline, context, processes.clone(), plugins.steps);
    let mut dispatcher = Dispatcher::new(journal, steps, names, vec![Box::new(human)]).map_err(run_error)?;
    for body in opening {
        dispatcher.emit(body).map_err(run_error)?;
    }
    let (end, journal) = runtime.block_on(dispatcher.run(specs, interrupts)).map_err(run_error)?;
    processes.kill_leaked();
    journal.finish().map_err(|error| journal_error(&error))?;
    let style = Style::of(&std::io::stdout());
    print(&style.dim(&format!("See it again: dcd history show {number}; its output: dcd history logs {number}")));
    print("\n");
    Ok(exit(end))
}

/// What is built, unless the pipeline says it: the repository, else the directory.
fn component(pipeline: &Pipeline, facts: &Facts, workspace: &Path) -> String {
    let repository = || facts.git.known().and_then(git::repository_name);
    let directory = || workspace.file_name().map(|name| name.to_string_lossy().into_owned());
    pipeline.component.clone().or_else(repository).or_else(directory).unwrap_or_else(|| "build".to_owned())
}

fn started(pipeline: &Pipeline, context: &BuildContext) -> Body {
    let plan = |step: &Step| StepPlan {
        name: step.name.value.clone(),
        kind: match &step.action {
            Action::Run(command) => match command.value {
                Command::Shell(_) => "shell".to_owned(),
                Command::Exec(_) => "exec".to_owned(),
            },
            Action::Uses { plugin, .. } => plugin.value.clone(),
        },
    };
    Body::BuildStarted(BuildStarted {
        version: event::VERSION,
        id: context.id.clone(),
        component: context.component.clone(),
        pipeline: pipeline.name.clone(),
        steps: pipeline.steps.iter().map(plan).collect(),
    })
}

/// What the process says of a build's end.
fn exit(end: BuildEnd) -> Exit {
    match (end.outcome, end.signal) {
        (_, Some(signal)) => Exit::Signal(signal),
        (Outcome::Success | Outcome::Skip, None) => Exit::Success,
        (Outcome::Failure, None) => Exit::StepFailed,
        (Outcome::Timeout, None) => Exit::TimedOut,
        (Outcome::Error | Outcome::Cancellation, None) => Exit::Environment,
    }
}

fn journal_error(error: &JournalError) -> CommandError {
    CommandError::environment(chain(error)).help("make the workspace writable for dcd, and free space on its disk")
}

fn unwritable(error: &StoreError) -> CommandError {
    CommandError::environment(error.to_string()).help("make the workspace writable for dcd, and free space on its disk")
}

fn run_error(error: RunError<JournalError>) -> CommandError {
    match error {
        RunError::Log(error) => journal_error(&error),
        RunError::Report(_) => CommandError::environment(error.to_string()).help("this is a fault of dcd: report it"),
    }
}

fn no_signals(error: &std::io::Error) -> CommandError {
    CommandError::environment(format!("signals cannot be received: {error}"))
}
