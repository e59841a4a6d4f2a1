//! `dcd retry`: a new build that runs again what did not succeed in an earlier one.

use std::path::PathBuf;

use crate::{
    build::Build,
    cli::{RetryArgs, SourceArgs},
    commands::{
        builds::Builds,
        collect, load,
        prepare::{self, Again, Prepared},
        run,
    },
    engine::{LeftOut, message::StepIndex},
    error::{CommandError, Exit},
    event::{Outcome, TestCase},
    facts::{Fact, Facts, Git},
    pipeline::{Pipeline, Step},
    redact,
    text::{clip, harmless_line},
};

pub(super) fn retry(args: &RetryArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let source = SourceArgs { file: "dcd.json".into(), local: false, component: None };
    let mut builds = Builds::open(&source)?;
    let found = builds.find(&args.build)?;
    let build = builds.read(&found)?;
    if build.outcome.is_none() {
        return Err(CommandError::usage(
            format!("build {} still runs", args.build),
            "wait for its end, or stop it",
        ));
    }
    if build.outcome == Some(Outcome::Success) {
        return Err(CommandError::usage(
            format!("build {} succeeded: nothing is left to run", args.build),
            "run all of it again: dcd run",
        ));
    }
    let Some(definition) = build.facts.definition.known() else {
        return Err(CommandError::usage(
            format!("build {} ended before it was recorded what it runs", args.build),
            "start anew: dcd run",
        ));
    };
    let file = PathBuf::from(&definition.path);
    let collecting = collect::start(&workspace);
    let bound = prepare::bound(&workspace, &file, prepare::recorded_params(&build.facts))?;
    let facts = collecting.finish(&bound.loaded, Vec::new());
    if !args.force {
        refuse_differences(&args.build, &build.facts, &facts)?;
    }
    let left_out = left_out(&bound.loaded.pipeline, &build);
    if left_out.iter().all(Option::is_some) {
        return Err(CommandError::usage(
            format!("every step of build {} succeeded: nothing is left to run", args.build),
            "run all of it again: dcd run",
        ));
    }
    let tests = tests(&mut builds, &bound.loaded.pipeline, &build, &left_out);
    let again = Again { of: build.id.clone(), facts, tests };
    let prepared = Prepared::of(workspace, bound, left_out, Some(again))?;
    run::execute(prepared, &args.how)
}

/// Steps that succeeded are left out, unless they come after one that is run again. So are those that were left out
/// then.
fn left_out(pipeline: &Pipeline, build: &Build) -> Vec<Option<LeftOut>> {
    let name = build.number.map_or_else(|| build.id.clone(), |number| format!("#{number}"));
    // What was masked is lost: who made it runs again.
    let masked = |step: &crate::build::Step| {
        step.outputs.values().any(|value| value.to_string().contains(redact::MASK))
    };
    let kept = |step: &&crate::build::Step| {
        (step.left_out || step.conclusion == Some(Outcome::Success)) && !masked(step)
    };
    let then = |step: &Step| build.step_named(&step.name.value).filter(kept);
    let kept: Vec<_> = pipeline.steps.iter().map(then).collect();
    let again = pipeline.with_dependents(kept.iter().map(Option::is_none).collect());
    let left_out = |(then, again): (Option<&crate::build::Step>, bool)| {
        let then = then.filter(|then| then.left_out || !again)?;
        let succeeded = || format!("succeeded in build {name}");
        let reason = then.reason.clone().filter(|_| then.left_out).unwrap_or_else(succeeded);
        let attempts = then.attempts.last().map_or(then.kept_attempts, |last| last.attempt);
        Some(LeftOut { reason, attempts, outputs: then.outputs.clone() })
    };
    kept.into_iter().zip(again).map(left_out).collect()
}

/// What the tests of the steps that are left out said, in the build that ran them: that may itself have been retried.
fn tests(
    builds: &mut Builds,
    pipeline: &Pipeline,
    build: &Build,
    left_out: &[Option<LeftOut>],
) -> Vec<(StepIndex, Vec<TestCase>)> {
    let mut wanted: Vec<_> =
        left_out.iter().enumerate().filter_map(|(step, out)| out.as_ref().map(|_| step)).collect();
    let mut found = Vec::new();
    let mut earlier;
    let mut build = build;
    loop {
        wanted.retain(|step| match build.step_named(&pipeline.steps[*step].name.value) {
            Some(then) if then.left_out => true,
            Some(then) => {
                found.push((*step, then.tests.clone()));
                false
            }
            None => false,
        });
        let before = build.retry_of.as_ref().filter(|_| !wanted.is_empty());
        // One that is not kept any more has nothing to say.
        let Some(Ok(read)) = before.map(|of| builds.find(of).and_then(|found| builds.read(&found))) else {
            break;
        };
        earlier = read;
        build = &earlier;
    }
    found.retain(|(_, tests)| !tests.is_empty());
    found
}

/// A step is left out because it succeeded: that says something about this build only where all that it worked on is
/// the same.
fn refuse_differences(build: &str, then: &Facts, now: &Facts) -> Result<(), CommandError> {
    let mut different = Vec::new();
    let mut compare = |what: &str, then: Option<&str>, now: Option<&str>| {
        if then != now {
            let short = |text: Option<&str>| text.map_or("none", |text| clip(text, 19)).to_owned();
            different.push(format!("{what} (then {}, now {})", short(then), short(now)));
        }
    };
    compare("the commit", git(then, |git| &git.commit), git(now, |git| &git.commit));
    compare("the tree", git(then, |git| &git.tree), git(now, |git| &git.tree));
    compare("what is not committed", git(then, |git| &git.diff_sha256), git(now, |git| &git.diff_sha256));
    let image = |facts: &Facts| facts.image.known().map(|image| image.id.clone());
    compare("the image", image(then).as_deref(), image(now).as_deref());
    if then.definition != now.definition {
        different.push("the pipeline".to_owned());
    }
    if different.is_empty() {
        return Ok(());
    }
    let message = format!("since build {build} this is different: {}", different.join("; "));
    Err(CommandError::usage(
        harmless_line(&message),
        "what succeeded then may fail now: run all of it with `dcd run`, or take it as it is with --force",
    ))
}

fn git<'f>(facts: &'f Facts, field: impl Fn(&'f Git) -> &'f Fact<String>) -> Option<&'f str> {
    facts.git.known().and_then(|git| field(git).known()).map(String::as_str)
}
