//! What is known of a build before anything is asked of the world: the pipeline, its params and secrets, and which of its
//! steps run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    cli::{HowArgs, ParamArgs, SelectArgs},
    commands::{
        load::{self, Loaded},
        secrets::Secrets,
    },
    engine::{LeftOut, message::StepIndex},
    error::CommandError,
    event::TestCase,
    facts::Facts,
    pipeline::{ParamError, Pipeline, Selection, SelectionError},
    text::harmless_line,
};

/// A build that can begin.
pub(super) struct Prepared {
    pub(super) workspace: PathBuf,
    pub(super) loaded: Loaded,
    /// Of each scope.
    pub(super) params: Vec<BTreeMap<String, Value>>,
    /// Of each step.
    pub(super) left_out: Vec<Option<LeftOut>>,
    pub(super) secrets: Secrets,
    /// The build that this one takes up again.
    pub(super) again: Option<Again>,
}

/// What a build is that takes up another one.
pub(super) struct Again {
    /// The other one's id.
    pub(super) of: String,
    /// What was found the same as then: so it is also what is recorded.
    pub(super) facts: Facts,
    /// What the tests said then, of each step that is left out now.
    pub(super) tests: Vec<(StepIndex, Vec<TestCase>)>,
}

/// A pipeline with its params' values.
pub(super) struct Bound {
    pub(super) loaded: Loaded,
    /// Of each scope.
    pub(super) params: Vec<BTreeMap<String, Value>>,
}

/// Reads the file, and gives its params their values.
pub(super) fn bound(
    workspace: &Path,
    file: &Path,
    given: impl IntoIterator<Item = (String, String)>,
) -> Result<Bound, CommandError> {
    let loaded = load::pipeline(workspace, file)?;
    let params = bind(&loaded.pipeline, given)?;
    Ok(Bound { loaded, params })
}

/// Gives a pipeline's params their values: those of each scope.
pub(super) fn bind(
    pipeline: &Pipeline,
    given: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<BTreeMap<String, Value>>, CommandError> {
    pipeline.bind(&given.into_iter().collect()).map_err(|errors| {
        let line = |error: &ParamError| match &error.help {
            Some(help) => format!("{}; {help}", error.message),
            None => error.message.clone(),
        };
        match &errors[..] {
            [one] => CommandError::usage(harmless_line(&one.message), one.help.clone().unwrap_or_default()),
            many => CommandError::usage(
                many.iter().map(|error| harmless_line(&line(error))).collect::<Vec<_>>().join("\n  "),
                "give each param once, as --param NAME=VALUE",
            ),
        }
    })
}

/// The params of a build, as a command line would give them.
pub(super) fn recorded_params(facts: &Facts) -> impl Iterator<Item = (String, String)> {
    facts.params.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    })
}

impl ParamArgs {
    pub(super) fn values(&self) -> impl Iterator<Item = (String, String)> {
        self.params.iter().cloned()
    }
}

/// For each step why it is left out, if it is.
pub(super) fn select(pipeline: &Pipeline, args: &SelectArgs) -> Result<Vec<Option<String>>, CommandError> {
    let selection = Selection { only: args.only.clone(), skip: args.skip.clone(), from: args.from.clone() };
    pipeline.select(&selection).map_err(|error| {
        let help = match &error {
            SelectionError::Unknown { meant: Some(meant), .. } => format!("did you mean `{meant}`?"),
            SelectionError::Unknown { .. } => "`dcd plan` lists the steps".to_owned(),
            SelectionError::Nothing => "name other steps with --only, --skip and --from".to_owned(),
        };
        CommandError::usage(harmless_line(&error.to_string()), help)
    })
}

impl Prepared {
    /// What `dcd run` asks for.
    pub(super) fn new(
        file: &Path,
        params: &ParamArgs,
        select_args: &SelectArgs,
    ) -> Result<Self, CommandError> {
        let workspace = load::workspace()?;
        let bound = bound(&workspace, file, params.values())?;
        let left_out = select(&bound.loaded.pipeline, select_args)?;
        let left_out = left_out
            .into_iter()
            .map(|reason| reason.map(|reason| LeftOut { reason, ..LeftOut::default() }))
            .collect();
        Prepared::of(workspace, bound, left_out, None)
    }

    pub(super) fn of(
        workspace: PathBuf,
        bound: Bound,
        left_out: Vec<Option<LeftOut>>,
        again: Option<Again>,
    ) -> Result<Self, CommandError> {
        let Bound { loaded, params } = bound;
        let secrets = Secrets::resolve(&workspace, &loaded.pipeline, |step| left_out[step].is_none())?;
        Ok(Prepared { workspace, loaded, params, left_out, secrets, again })
    }
}

impl HowArgs {
    /// As many steps at the same time as there are CPUs, unless something else is said.
    pub(super) fn jobs(&self) -> usize {
        let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cpus, usize::from)
    }
}
