//! `dcd run`

use std::{collections::BTreeSet, path::Path, time::Duration};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
};
use uuid::Uuid;

use crate::{
    cli::{HowArgs, OnFail, RunArgs},
    commands::{
        collect,
        course::{self, Course},
        load::{self, Loaded, Plugins},
        locking::LockRequest,
        observers::Observers,
        output::{self, print},
        prepare::Prepared,
        replicate::{self, Replication},
        reports::Reports,
        requirements,
        screen::{self, Screen},
        secrets,
        steps::{BuildContext, BuildSteps, Environment},
        sync::{Delivered, Leftovers},
    },
    engine::{
        BuildEnd, Dispatcher, Options, RunError,
        ports::{
            Progress,
            backend::{BackendError, Metadata, NewBuild},
        },
    },
    error::{CommandError, Exit},
    event::{self, Body, BuildNumbered, BuildStarted, Outcome, StepPlan, UnixMs},
    exec::{Processes, promptness, shell},
    facts::Facts,
    git,
    history::{self, UploadError},
    journal::{BuildDir, JournalError, Store, StoreError, Unsent},
    owner::Owner,
    pipeline::{Pipeline, Step},
    plugin::{Host, backend::HistoryPlugin},
    products::Products,
    redact::{self, Redactor},
    report::{self, Mode, Style},
    signal, text,
};

pub(super) fn run(args: &RunArgs) -> Result<Exit, CommandError> {
    execute(Prepared::new(&args.file, &args.params, &args.select)?, &args.how)
}

/// Runs a build from its first event to its last.
pub(super) fn execute(prepared: Prepared, how: &HowArgs) -> Result<Exit, CommandError> {
    let mode = screen::mode(how.shown.output)?;
    // While git and Docker answer, plugins are loaded.
    let known = prepared.again.as_ref().map(|again| again.facts.clone());
    let collecting = known.is_none().then(|| collect::start(&prepared.workspace));
    let plugins = load::plugins(&prepared.workspace, &prepared.loaded)?;
    let collected = collecting.map(|collecting| collecting.finish(&prepared.loaded, Vec::new()));
    let mut facts = collected.or(known).unwrap_or_default();
    facts.plugins.clone_from(&plugins.records);
    facts.params.clone_from(&prepared.params[0]);
    let secrets = prepared.secrets.names().chain(&plugins.secrets).collect::<BTreeSet<_>>();
    facts.secrets = secrets.into_iter().cloned().collect();
    requirements::check(&prepared.loaded.pipeline, &facts)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::environment(format!("the runtime cannot be started: {error}")))?;
    let reports = Reports::new(&how.shown.reports, &prepared.workspace);
    build(&runtime, prepared, how, plugins, facts, mode, reports)
}

fn build(
    runtime: &Runtime,
    prepared: Prepared,
    how: &HowArgs,
    mut plugins: Plugins,
    facts: Facts,
    mode: Mode,
    mut reports: Reports,
) -> Result<Exit, CommandError> {
    let _inside = runtime.enter();
    let mut interrupts = signal::interrupts().map_err(|error| no_signals(&error))?;
    let processes = Processes::collected().map_err(|error| {
        CommandError::environment(format!("processes cannot be started and collected: {error}"))
    })?;

    let Prepared { workspace, loaded: Loaded { pipeline, .. }, params, left_out, secrets, again } = prepared;
    let wait = replicate::wait()?;
    let id = Uuid::now_v7();
    let store = Store::at(&workspace);
    let (place, mut journal) = store.create_build(&id.to_string()).map_err(|error| journal_error(&error))?;
    reports.build(&store, &place);
    let products = Products::at(place.path(), Owner::of(&workspace));
    let products = products.map_err(|error| no_place(&place, &error))?;
    let component = component(&pipeline, &facts, &workspace);
    let mut context = BuildContext { id: id.to_string(), number: None, component, workspace, facts };

    // Noted before the first event, so that no event is ever forgotten; a note without one is harmless.
    let unsent = plugins.history.is_some().then(|| store.mark_unsent(&place.id)).transpose();
    let unsent = unsent.map_err(|error| unwritable(&error))?.flatten();
    // Kept before anybody is asked for a number: from here on the build is found, whatever happens.
    let (of, tests) = again.map(|again| (again.of, again.tests)).unzip();
    let opening =
        journal.append(None, started(&pipeline, &context, of)).map_err(|error| journal_error(&error))?;

    let redactor = Redactor::new(secrets.hidden());
    let usages = plugins.usages();
    let begin = new_build(&pipeline, &context, opening.at, &redactor);
    let mut backed = backed(&mut plugins, &store, &place, begin, unsent, journal.progress(), wait)?;
    let (numbered, early) = numbered(runtime, &store, &context, backed.as_mut(), &mut interrupts)?;
    context.number = numbered.as_ref().map(|numbered| numbered.number);

    let opened = numbered.map(Body::BuildNumbered).into_iter();
    let opened: Vec<_> = opened.chain([Body::BuildFacts(Box::new(context.facts.clone()))]).collect();
    let component = context.component.clone();
    let number = context.number;
    let specs = course::specs(&pipeline, left_out);
    let (late_sender, late) = mpsc::unbounded_channel();
    let course = Course {
        options: Options { jobs: how.jobs(), fail_fast: how.fail_fast, timeout: pipeline.timeout },
        unnumbered: pipeline.require.history && number.is_none(),
        early,
        processes: processes.clone(),
        late: late_sender.clone(),
    };
    let hidden = secrets::variables(&pipeline);
    let (observers, followers) =
        Observers::start(plugins.host.as_ref(), plugins.observers, &context, &pipeline.name);
    let mut environment = Environment::new(&pipeline, &context, &params, secrets, &hidden);
    environment.trace = observers.trace().cloned();
    let mut steps =
        BuildSteps::new(pipeline, context, processes.clone(), products, plugins.steps, environment);
    steps.usages = usages;
    steps.shell_on_failure = opens_shells(how);
    for (step, cases) in tests.iter().flatten() {
        steps.results.tested(*step, cases);
    }
    let locks = backed.as_mut().and_then(|backed| backed.locks.take());
    let kept = |lock: LockRequest| kept_by(lock.masked(&redactor), plugins.host.as_ref(), locks);
    let lock = steps.lock().map(|lock| lock.map(kept));
    let Screen { sink, curtain: _curtain } = Screen::open(mode);
    let sinks = std::iter::once(sink).chain(followers).collect();
    let mut dispatcher = Dispatcher::new(journal, steps, redactor, sinks).map_err(run_error)?;
    dispatcher.show(opening);
    for body in opened {
        dispatcher.emit(body).map_err(run_error)?;
    }
    if let (Some(backed), None) = (&mut backed, number) {
        backed.replication.tell_late(late_sender);
    }
    promptness::ask();
    let ended = runtime.block_on(course.run(dispatcher, specs, lock, interrupts, late)).map_err(run_error);
    processes.kill_all();
    let (end, journal) = ended?;
    journal.finish().map_err(|error| journal_error(&error))?;
    if let Ok(interrupts) = signal::interrupts() {
        runtime.block_on(observers.finish(interrupts));
    }

    let (now, exit) = match backed {
        Some(backed) => replicated(runtime, backed, end, number, &place.id),
        None => (number, exit(end)),
    };
    if let (None, Some(number)) = (number, now) {
        note_number(&store, &component, number, &place.id);
    }
    Ok(farewell(&store, &place, now, end, mode, reports.finish(exit)))
}

/// The lock, to be kept by the history backend where there is one.
fn kept_by(lock: LockRequest, host: Option<&Host>, backend: Option<HistoryPlugin>) -> LockRequest {
    match (host, backend) {
        (Some(host), Some(backend)) => lock.kept_by(host, backend),
        _ => lock,
    }
}

/// The last that is said. All is kept.
fn farewell(
    store: &Store,
    place: &BuildDir,
    number: Option<u64>,
    end: BuildEnd,
    mode: Mode,
    exit: Exit,
) -> Exit {
    let by_number = number.filter(|number| store.is_unique(*number)).map(|number| number.to_string());
    // Nothing is left that a signal could harm, should standard output stand still.
    signal::release();
    // Who stopped the build may have done so because its output goes nowhere.
    if mode != Mode::Json && (end.signal.is_none() || output::is_read()) {
        print_farewell(&by_number.unwrap_or_else(|| place.id.clone()));
    }
    exit
}

/// What a build has to do with its history backend.
struct Backed {
    replication: Replication,
    /// The right to send the build.
    unsent: Option<Unsent>,
    /// Earlier builds, which are sent beside this one.
    leftovers: Option<Leftovers>,
    /// For the build's lock.
    locks: Option<HistoryPlugin>,
}

/// Starts what is done beside the build, if the pipeline names a history backend.
fn backed(
    plugins: &mut Plugins,
    store: &Store,
    place: &BuildDir,
    build: NewBuild,
    unsent: Option<Unsent>,
    progress: watch::Receiver<Progress>,
    wait: Duration,
) -> Result<Option<Backed>, CommandError> {
    let (Some(host), Some(backend)) = (&plugins.host, plugins.history.take()) else { return Ok(None) };
    let locks = Some(backend.another());
    let leftovers = Leftovers::start(host, &backend, store, &place.id);
    let replication = Replication::start(host, backend, build, &place.journal(), progress, wait)
        .map_err(|error| CommandError::environment(error.to_string()))?;
    Ok(Some(Backed { replication, unsent, leftovers, locks }))
}

/// The build's number, and who gave it; or a signal that came while the backend was waited for.
fn numbered(
    runtime: &Runtime,
    store: &Store,
    context: &BuildContext,
    backed: Option<&mut Backed>,
    interrupts: &mut mpsc::UnboundedReceiver<i32>,
) -> Result<(Option<BuildNumbered>, Option<i32>), CommandError> {
    let (given, early) = if let Some(backed) = backed {
        let (given, early) = backend_number(runtime, &mut backed.replication, interrupts);
        if let Some((number, _)) = given {
            note_number(store, &context.component, number, &context.id);
        }
        (given, early)
    } else {
        let number = store.claim_number(&context.component, &context.id);
        (Some((number.map_err(|error| unwritable(&error))?, "journal".to_owned())), None)
    };
    Ok((given.map(|(number, by)| BuildNumbered { number, by }), early))
}

/// The number that the backend gives, if it does so soon. A signal ends the wait: the build is then cancelled
/// before its first step, and recorded so.
fn backend_number(
    runtime: &Runtime,
    replication: &mut Replication,
    interrupts: &mut mpsc::UnboundedReceiver<i32>,
) -> (Option<(u64, String)>, Option<i32>) {
    let (number, early) = runtime.block_on(async {
        tokio::select! {
            number = replication.number() => (number, None),
            signal = interrupts.recv() => (None, signal),
        }
    });
    (number.map(|number| (number, replication.backend().to_owned())), early)
}

/// Notes a number that the backend gave. Without the note the build is found by its id.
fn note_number(store: &Store, component: &str, number: u64, id: &str) {
    if let Err(error) = store.note_number(component, number, id) {
        output::warn(&format!("the build's number {number} cannot be noted here: {error}"));
    }
}

/// Waits for the backend. What the steps did counts first.
fn replicated(
    runtime: &Runtime,
    backed: Backed,
    end: BuildEnd,
    number: Option<u64>,
    id: &str,
) -> (Option<u64>, Exit) {
    let Backed { replication, unsent, leftovers, .. } = backed;
    let backend = replication.backend().to_owned();
    // The first Ctrl-C stopped the steps, or there was none: now it stops the wait.
    let finished = signal::interrupts().map_err(UploadError::Journal);
    let finished = finished.and_then(|interrupts| runtime.block_on(replication.finish(interrupts)));
    let replicated = match finished {
        Ok(number) => {
            if let Some(unsent) = unsent {
                unsent.sent();
            }
            (Some(number), exit(end))
        }
        Err(error) => {
            let help = match &error {
                UploadError::Backend(BackendError { help: Some(help), .. }) => format!("\nhelp: {help}"),
                _ => String::new(),
            };
            output::warn(&format!(
                "history backend {backend} does not have the whole build: {error}{help}\n\
                 The build is kept in its journal, .dcd/builds/{id}. The next run sends it, or: dcd history sync"
            ));
            let exit = match exit(end) {
                Exit::Success => Exit::HistoryNotWritten,
                other => other,
            };
            (number, exit)
        }
    };
    if let Some(leftovers) = leftovers {
        tell_leftovers(runtime.block_on(leftovers.finish()));
    }
    replicated
}

/// Says what became of earlier builds that the backend lacked. `None`: it takes too long to wait for.
fn tell_leftovers(ended: Option<(Vec<Delivered>, usize)>) {
    let (sent, left) = match ended {
        Some((sent, left)) => (sent, left > 0),
        None => (Vec::new(), true),
    };
    if !sent.is_empty() {
        let named: Vec<_> =
            sent.iter().map(|build| format!("{} #{}", build.component, build.number)).collect();
        output::note(&format!(
            "The history backend lacked earlier builds and has them now: {}",
            named.join(", ")
        ));
    }
    if left {
        output::warn("the history backend still lacks earlier builds of this workspace: dcd history sync");
    }
}

fn print_farewell(build: &str) {
    let style = Style::of(&std::io::stdout());
    let text = format!("See it again: dcd history show {build}; its output: dcd history logs {build}");
    // The build is what counts, and it is kept.
    let _ = print(&format!("{}\n", style.dim(&text)));
}

fn new_build(
    pipeline: &Pipeline,
    context: &BuildContext,
    started_at: UnixMs,
    redactor: &Redactor,
) -> NewBuild {
    let mut facts = context.facts.clone();
    redact::mask_facts(redactor, &mut facts);
    NewBuild {
        component: context.component.clone(),
        id: context.id.clone(),
        started_at,
        lease_ms: history::LEASE_MS,
        metadata: Metadata::new(&pipeline.name, &facts),
    }
}

/// What is built, unless the pipeline says it: the repository, else the directory.
fn component(pipeline: &Pipeline, facts: &Facts, workspace: &Path) -> String {
    let repository = || facts.git.known().and_then(git::repository_name);
    let directory = || workspace.file_name().map(|name| name.to_string_lossy().into_owned());
    pipeline.component.clone().or_else(repository).or_else(directory).unwrap_or_else(|| "build".to_owned())
}

fn started(pipeline: &Pipeline, context: &BuildContext, retry_of: Option<String>) -> Body {
    let plan = |step: &Step| StepPlan {
        name: step.name.value.clone(),
        kind: report::kind(&step.action).to_owned(),
        needs: step.needs.iter().map(|need| pipeline.steps[*need].name.value.clone()).collect(),
    };
    Body::BuildStarted(BuildStarted {
        version: event::VERSION,
        id: context.id.clone(),
        component: context.component.clone(),
        pipeline: pipeline.name.clone(),
        steps: pipeline.steps.iter().map(plan).collect(),
        retry_of,
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
    CommandError::environment(text::chain(error))
        .help("make the workspace writable for dcd, and free space on its disk")
}

fn unwritable(error: &StoreError) -> CommandError {
    CommandError::environment(error.to_string())
        .help("make the workspace writable for dcd, and free space on its disk")
}

fn run_error(error: RunError<JournalError>) -> CommandError {
    match error {
        RunError::Log(error) => journal_error(&error),
        RunError::Report(_) => {
            CommandError::environment(error.to_string()).help("this is a fault of dcd: report it")
        }
    }
}

/// Whether steps that fail open a shell.
fn opens_shells(how: &HowArgs) -> bool {
    if how.on_fail == Some(OnFail::Shell) && !shell::is_possible() {
        output::warn("--on-fail=shell opens no shell: this is no terminal (docker run needs `-it` for one)");
    }
    how.on_fail == Some(OnFail::Shell) && shell::is_possible()
}

fn no_place(place: &BuildDir, error: &std::io::Error) -> CommandError {
    let place = place.path().display();
    CommandError::environment(format!("the build's directory {place} cannot be opened: {error}"))
        .help("make the workspace readable for dcd")
}

fn no_signals(error: &std::io::Error) -> CommandError {
    CommandError::environment(format!("signals cannot be received: {error}"))
}
