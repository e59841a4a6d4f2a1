//! `dcd:plugin/command`: programs.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    engine::{
        message::Stop,
        ports::programs::{Landing, Launch},
    },
    plugin::{
        bindings::{
            command::{Capture, CommandError, Exit, Host, Spec},
            types::{self, Fault},
        },
        given::Workshop,
        guest::{Guest, Io},
        programs::{Refusal, Search},
        warden::Warden,
    },
};

/// How much of a stream a plugin gets at most.
const CAPTURE_LIMIT: usize = 64 << 20;
/// How long a program has to end that took too long.
const GRACE: Duration = Duration::from_secs(10);
/// The variables of dcd's environment that every program gets: where things are, and how to speak.
const BASIC: [&str; 11] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM", "LC_*"];

impl Host for Guest {
    async fn run(&mut self, spec: Spec) -> wasmtime::Result<Result<Exit, CommandError>> {
        Ok(self.run_program(spec).await)
    }
}

impl types::Host for Guest {}

impl Guest {
    async fn run_program(&mut self, spec: Spec) -> Result<Exit, CommandError> {
        let Io::Step { messages, step, .. } = &self.warden.io else { return Err(no_business()) };
        let Some(workshop) = self.given.workshop.clone() else { return Err(no_business()) };
        if self.cancelled() {
            return Err(CommandError::Cancelled);
        }
        let launch = prepare(&spec, &workshop, &self.warden)?;
        self.warden.used(|used| &mut used.programs, &launch.argv[0]);
        let (stop, control) = mpsc::unbounded_channel();
        workshop.running.set(stop.clone());
        let killer = Killer(stop);
        let started = Instant::now();
        // A task of its own: it goes on to its end when the plugin is dropped.
        let mut landing = tokio::spawn(workshop.programs.launch(launch, *step, messages.clone(), control));
        let limit = spec.timeout_ms.map(Duration::from_millis);
        let flow = tokio::select! {
            landed = &mut landing => ControlFlow::Continue(landed),
            () = patience(limit) => ControlFlow::Break(()),
        };
        let ControlFlow::Continue(landed) = flow else {
            let _ = killer.0.send(Stop::Grace);
            if tokio::time::timeout(GRACE, &mut landing).await.is_err() {
                let _ = killer.0.send(Stop::Kill);
                let _ = landing.await;
            }
            return Err(CommandError::TimedOut);
        };
        if self.cancelled() {
            return Err(CommandError::Cancelled);
        }
        let landed = landed.map_err(|_| fault("dcd broke while it ran the program".to_owned(), None))?;
        let landing = landed.map_err(|problem| fault(problem.message, problem.help))?;
        Ok(exit(landing, started.elapsed()))
    }
}

/// Ends the program when the plugin is gone that waits for it.
struct Killer(mpsc::UnboundedSender<Stop>);

impl Drop for Killer {
    fn drop(&mut self) {
        // One that has ended does not listen any more.
        let _ = self.0.send(Stop::Kill);
    }
}

async fn patience(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// What is started, if it may be.
fn prepare(spec: &Spec, workshop: &Workshop, warden: &Warden) -> Result<Launch, CommandError> {
    let search = Search::new(workshop.path.as_deref(), &workshop.workspace);
    let program = search.resolve(&warden.grants, &spec.program).map_err(|refusal| match refusal {
        Refusal::NotPermitted(reason) => {
            warden.note_refusal(reason.clone());
            CommandError::NotPermitted(reason)
        }
        Refusal::NotFound(reason) => CommandError::NotFound(reason),
    })?;
    let directory = directory(spec.cwd.as_deref(), &workshop.workspace, warden)?;
    let program = program
        .into_os_string()
        .into_string()
        .map_err(|_| fault("the program's path is not UTF-8 text".to_owned(), None))?;
    Ok(Launch {
        argv: std::iter::once(program).chain(spec.args.iter().cloned()).collect(),
        env: environment(spec, workshop, warden)?,
        directory,
        stdin: spec.stdin.clone(),
        stdout: matches!(spec.capture, Capture::Stdout | Capture::Both),
        stderr: matches!(spec.capture, Capture::Stderr | Capture::Both),
        capture_limit: CAPTURE_LIMIT.min(spec.capture_limit as usize),
    })
}

/// In the workspace, or in a directory that the plugin is granted.
fn directory(cwd: Option<&str>, workspace: &Path, warden: &Warden) -> Result<PathBuf, CommandError> {
    let wanted = workspace.join(cwd.unwrap_or_default());
    let real = wanted.canonicalize().map_err(|error| {
        let help = "name a directory that exists; a relative one starts at the workspace";
        fault(format!("the directory {} cannot be used: {error}", wanted.display()), Some(help.to_owned()))
    })?;
    let granted = warden.grants.directories().iter().map(|directory| directory.path.as_path());
    let is_inside = |place: &Path| place.canonicalize().is_ok_and(|place| real.starts_with(place));
    if granted.chain([workspace]).any(is_inside) {
        return Ok(real);
    }
    let path = wanted.display().to_string();
    let line = serde_json::Value::from(path.as_str()).to_string();
    let denial = warden.grants.denial("fs", &format!("to run a program in {path}"), &line);
    warden.note_refusal(denial.clone());
    Err(CommandError::NotPermitted(denial))
}

/// The basic variables, those that are granted, those of the step, and what the plugin changes.
fn environment(
    spec: &Spec,
    workshop: &Workshop,
    warden: &Warden,
) -> Result<Vec<(String, String)>, CommandError> {
    let basic = BASIC.map(str::to_owned);
    let mut env = crate::plugin::grants::variables(&basic);
    env.extend(warden.grants.env());
    env.extend(workshop.env.iter().cloned());
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(fault(format!("a variable cannot have the name {name:?}"), None));
        }
        env.retain(|(known, _)| known != name);
        env.extend(value.clone().map(|value| (name.clone(), value)));
    }
    Ok(env)
}

fn exit(landing: Landing, duration: Duration) -> Exit {
    Exit {
        code: landing.exit_code,
        signal: landing.signal,
        stdout: landing.stdout,
        stderr: landing.stderr,
        truncated: landing.truncated,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    }
}

fn fault(message: String, help: Option<String>) -> CommandError {
    CommandError::FailedToStart(Fault { message, code: None, help, retry_after_ms: None })
}

/// Only the run of a step starts programs.
fn no_business() -> CommandError {
    CommandError::NotPermitted("only a step that runs can run programs".to_owned())
}
