//! `dcd history`

use std::{
    io::{IsTerminal, Write},
    ops::ControlFlow,
};

use serde_json::Value;

use crate::{
    build::Build,
    cli::{HistoryCommand, ListArgs, LogsArgs, ShowArgs},
    commands::{
        builds::{Builds, Found},
        output::{self, print, print_json},
    },
    error::{CommandError, Exit},
    event::Body,
    report::{self, Style, Summary},
    text,
};

pub(super) fn history(command: HistoryCommand) -> Result<Exit, CommandError> {
    match command {
        HistoryCommand::List(args) => list(&args),
        HistoryCommand::Show(args) => show(&args),
        HistoryCommand::Logs(args) => logs(&args),
    }
}

fn list(args: &ListArgs) -> Result<Exit, CommandError> {
    let builds = Builds::open(&args.source)?.list(args.limit)?;
    if args.json {
        print_json(&builds.iter().map(Summary::document).collect::<Value>())?;
    } else if builds.is_empty() {
        print("There are no builds here yet. Make one: dcd run\n")?;
    } else {
        print(&report::list(&builds, Style::of(&std::io::stdout())))?;
    }
    Ok(Exit::Success)
}

fn show(args: &ShowArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let found = builds.find(&args.build)?;
    let build = builds.read(&found)?;
    if args.json {
        print_json(&report::document(&build))?;
    } else {
        print(&report::show(&build, Style::of(&std::io::stdout())))?;
    }
    Ok(Exit::Success)
}

fn logs(args: &LogsArgs) -> Result<Exit, CommandError> {
    let mut builds = Builds::open(&args.source)?;
    let found = builds.find(&args.build)?;
    // A plugin's output may hold what would drive a terminal; a pipe gets every byte as it was.
    let terminal = std::io::stdout().is_terminal();
    let mut guests = Vec::new();
    if args.step.is_some() || terminal {
        let build = builds.read(&found)?;
        if let Some(step) = &args.step {
            known_step(&build, step, args.attempt)?;
        }
        let is_guest = |kind: &str| !matches!(kind, "shell" | "exec");
        guests = build.steps.into_iter().filter(|step| is_guest(&step.kind)).map(|step| step.name).collect();
    }
    // What a backend says of a step's kind may be wrong, and what it holds may come from anywhere.
    let remote = matches!(found, Found::Remote(_));
    let mut out = output::stdout();
    let mut result = Ok(());
    let mut attempt = 0;
    builds.events(&found, args.step.as_deref(), &mut |event| {
        let step = event.step.as_deref().unwrap_or_default();
        if args.step.as_deref().is_some_and(|wanted| wanted != step) {
            return ControlFlow::Continue(());
        }
        if let Body::AttemptStarted(started) = &event.body {
            attempt = started.attempt;
        }
        let Body::StepOutput(bytes) = &event.body else { return ControlFlow::Continue(()) };
        if args.attempt.is_some_and(|wanted| wanted != attempt) {
            return ControlFlow::Continue(());
        }
        result = if terminal && (remote || guests.iter().any(|guest| guest == step)) {
            out.write_all(&text::harmless(bytes))
        } else {
            out.write_all(bytes)
        };
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    output::written(result.and_then(|()| out.flush()))?;
    Ok(Exit::Success)
}

fn known_step(build: &Build, step: &str, attempt: Option<u32>) -> Result<(), CommandError> {
    let Some(known) = build.step_named(step) else {
        let names: Vec<_> = build.steps.iter().map(|step| format!("`{}`", step.name)).collect();
        return Err(CommandError::usage(
            format!("the build has no step `{step}`"),
            format!("its steps are {}", names.join(", ")),
        ));
    };
    match attempt {
        Some(wanted) if known.attempts.iter().all(|attempt| attempt.attempt != wanted) => {
            let count = known.attempts.len();
            let had = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
            Err(CommandError::usage(
                format!("there is no attempt {wanted} of the step `{step}`"),
                format!("it had {had}; without --attempt you get all of them"),
            ))
        }
        _ => Ok(()),
    }
}
