//! `dcd shell`: a shell where a step of an earlier build ran.

use std::{collections::BTreeMap, path::Path};

use crate::{
    build::Build,
    cli::{ShellArgs, SourceArgs},
    commands::{
        builds::Builds,
        load,
        output::warn,
        prepare,
        secrets::{self, Secrets},
        steps::{BuildContext, Environment},
    },
    error::{CommandError, Exit},
    event::StepFinished,
    exec::{self, Processes, Program},
    facts::Definition,
    git,
    pipeline::{self, Action, Pipeline},
    report,
    text::harmless_line,
};

pub(super) fn shell(args: &ShellArgs) -> Result<Exit, CommandError> {
    if !exec::shell::is_possible() {
        return Err(CommandError::usage(
            "dcd shell needs a terminal, and standard input or standard error is none",
            "a container has a terminal with `docker run -it`",
        ));
    }
    let workspace = load::workspace()?;
    let source = SourceArgs { file: "dcd.json".into(), local: false, component: None };
    let mut builds = Builds::open(&source)?;
    let found = builds.find(&args.build)?;
    let build = builds.read(&found)?;
    let program = program(&workspace, &build, &args.step)?;
    warn_of_differences(&workspace, &build);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::environment(format!("the runtime cannot be started: {error}")))?;
    let ended = runtime.block_on(async {
        let processes = Processes::collected()?;
        let words = format!(
            "\nA shell where step `{}` ran, with its environment.\n  directory  {}\nLeave it with: exit\n\n",
            args.step,
            program.directory.display()
        );
        // Nobody stops it but who sits at the terminal.
        let (_stop, mut control) = tokio::sync::mpsc::unbounded_channel();
        exec::shell::run(&processes, &exec::shell::program(&program), &words, &mut control).await
    });
    match ended {
        Ok(_) => Ok(Exit::Success),
        Err(error) => Err(CommandError::environment(program.problem(&error).message)),
    }
}

/// What the step's process was, made anew from the build's record.
fn program(workspace: &Path, build: &Build, step: &str) -> Result<Program, CommandError> {
    let Some(definition) = build.facts.definition.known() else {
        return Err(CommandError::usage(
            "the build ended before it was recorded what it runs",
            "choose another build: dcd history list",
        ));
    };
    let pipeline = recorded(definition)?;
    let Some(index) = pipeline.steps.iter().position(|known| known.name.value == step) else {
        let names: Vec<_> = pipeline.steps.iter().map(|step| step.name.value.as_str()).collect();
        return Err(CommandError::usage(
            format!("the build has no step `{}`", harmless_line(step)),
            format!("its steps are {}", harmless_line(&names.join(", "))),
        ));
    };
    let Action::Run(command) = &pipeline.steps[index].action else {
        return Err(CommandError::usage(
            format!(
                "step `{step}` is done by the plugin {}, which has no shell",
                report::kind(&pipeline.steps[index].action)
            ),
            "choose a step with `run`",
        ));
    };
    let params = prepare::bind(&pipeline, prepare::recorded_params(&build.facts))?;
    let secrets = Secrets::resolve(workspace, &pipeline, |step| step == index)?;
    let context = BuildContext {
        id: build.id.clone(),
        number: build.number,
        component: build.component.clone(),
        workspace: workspace.to_owned(),
        facts: build.facts.clone(),
    };
    let hidden = secrets::variables(&pipeline);
    let mut environment = Environment::new(&pipeline, &context, &params, secrets, &hidden);
    for (place, known) in pipeline.steps.iter().enumerate() {
        if let Some(result) = build.step_named(&known.name.value).and_then(result) {
            environment.decided(place, &result);
        }
    }
    let attempt = build.step_named(step).and_then(|step| step.attempts.last()).map_or(1, |last| last.attempt);
    let step = &pipeline.steps[index];
    environment.program(&context, step, &command.value, attempt).map_err(|problem| {
        let mut failed = CommandError::environment(harmless_line(&problem.message));
        failed.help = problem.help;
        failed
    })
}

/// The pipeline as the build had it.
fn recorded(definition: &Definition) -> Result<Pipeline, CommandError> {
    let texts: BTreeMap<_, _> =
        definition.includes.iter().map(|file| (file.path.as_str(), &file.text)).collect();
    let mut load =
        |path: &str| texts.get(path).map(ToString::to_string).ok_or_else(|| "it was not recorded".to_owned());
    pipeline::parse(&definition.text, &definition.path, &mut load)
        .map_err(|wrong| load::rendered(&wrong.diagnostics, &wrong.sources))
}

fn result(step: &crate::build::Step) -> Option<StepFinished> {
    Some(StepFinished {
        outcome: step.outcome?,
        conclusion: step.conclusion?,
        attempts: u32::try_from(step.attempts.len()).unwrap_or(u32::MAX),
        flaky: step.flaky,
        reason: step.reason.clone(),
        left_out: step.left_out,
        outputs: step.outputs.clone(),
        summary: None,
    })
}

/// The files are those of now: says so where they are known to be others.
fn warn_of_differences(workspace: &Path, build: &Build) {
    let now = git::collect(workspace);
    let commit = now.known().and_then(|git| git.commit.known());
    let (Some(now), Some(then)) = (commit, build.commit()) else { return };
    if now != then {
        warn(&format!("the build ran on commit {then}; the files here are those of {now}"));
    }
}
