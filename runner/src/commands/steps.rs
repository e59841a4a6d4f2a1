//! Starting a build's steps: processes here, plugins on their host.

use std::{collections::BTreeMap, path::PathBuf};

use tokio::sync::mpsc;

use crate::{
    engine::{
        message::{StepControl, StepIndex, StepMessage, StepStatus},
        ports::Steps,
    },
    event::{Problem, StepFinished},
    exec::{self, Processes, Program},
    facts::{Fact, Facts},
    pipeline::{Action, Command, Pipeline, Step, expression::Template},
    plugin::step::{StepPlugin, StepRequest},
};

/// What every step of a build is told.
pub(super) struct BuildContext {
    pub(super) id: String,
    pub(super) number: Option<u64>,
    pub(super) component: String,
    pub(super) workspace: PathBuf,
    pub(super) facts: Facts,
}

/// The steps of one build.
pub(super) struct BuildSteps {
    pub(super) pipeline: Pipeline,
    pub(super) context: BuildContext,
    pub(super) processes: Processes,
    pub(super) plugins: BTreeMap<String, StepPlugin>,
    /// The variables that are the same for every step.
    common_env: Vec<(String, String)>,
    /// The facts as plugins get them; made only when a plugin runs.
    facts_json: Option<String>,
}

impl BuildSteps {
    pub(super) fn new(
        pipeline: Pipeline,
        context: BuildContext,
        processes: Processes,
        plugins: BTreeMap<String, StepPlugin>,
    ) -> Self {
        let common_env = common_env(&pipeline, &context);
        BuildSteps { pipeline, context, processes, plugins, common_env, facts_json: None }
    }

    fn program(&self, step: &Step, command: &Command, attempt: u32) -> Program {
        // Ours first: what the file says wins (it cannot say `DCD_…`).
        let mut env = self.common_env.clone();
        env.extend(plain(&self.pipeline.scopes[step.scope].env));
        env.extend(plain(&step.env));
        env.push(("DCD_STEP".into(), step.name.value.clone()));
        env.push(("DCD_ATTEMPT".into(), attempt.to_string()));
        let directory = match &step.workdir {
            Some(workdir) => self.context.workspace.join(workdir.source()),
            None => self.context.workspace.clone(),
        };
        Program::new(command, env, Vec::new(), directory)
    }

    fn request(&mut self, step: StepIndex, attempt: u32, config: String) -> StepRequest {
        let facts = self.facts_json.get_or_insert_with(|| {
            serde_json::to_string(&self.context.facts).unwrap_or_else(|_| "{}".to_owned())
        });
        StepRequest {
            config,
            build_id: self.context.id.clone(),
            build_number: self.context.number,
            component: self.context.component.clone(),
            step_name: self.pipeline.steps[step].name.value.clone(),
            attempt,
            env: plain(&self.pipeline.steps[step].env).collect(),
            has_timeout: self.pipeline.steps[step].timeout.is_some(),
            workspace: self.context.workspace.display().to_string(),
            inputs: Vec::new(),
            facts: facts.clone(),
        }
    }
}

fn plain(env: &[(String, Template)]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|(name, value)| (name.clone(), value.source().to_owned()))
}

impl Steps for BuildSteps {
    fn decide(&mut self, _step: StepIndex, statuses: &[StepStatus]) -> Result<Option<String>, Problem> {
        Ok(statuses.iter().find_map(|status| status.blame.clone()))
    }

    fn finished(&mut self, _step: StepIndex, _result: &StepFinished) {}

    fn start(&mut self, step: StepIndex, attempt: u32, messages: mpsc::Sender<StepMessage>) -> StepControl {
        let (sender, control) = mpsc::unbounded_channel();
        match &self.pipeline.steps[step].action {
            Action::Run(command) => {
                let program = self.program(&self.pipeline.steps[step], &command.value, attempt);
                tokio::spawn(exec::run(self.processes.clone(), program, step, messages, control));
            }
            Action::Uses { plugin, with } => {
                let config = with.value.to_string();
                let plugin = self.plugins[&plugin.value].clone();
                plugin.start(self.request(step, attempt, config), step, messages, control);
            }
        }
        sender
    }
}

fn common_env(pipeline: &Pipeline, context: &BuildContext) -> Vec<(String, String)> {
    let git = context.facts.git.known();
    let known = |fact: Option<&Fact<String>>| fact.and_then(Fact::known).cloned().unwrap_or_default();
    let commit = known(git.map(|git| &git.commit));
    let dirty = git.and_then(|git| git.dirty.known()).map_or_else(String::new, ToString::to_string);
    let digest = known(context.facts.image.known().map(|image| &image.digest));
    let variables: [(&str, String); 14] = [
        ("CI", "true".into()),
        ("DCD", "true".into()),
        ("DCD_BUILD_ID", context.id.clone()),
        ("DCD_BUILD_NUMBER", context.number.map_or_else(String::new, |number| number.to_string())),
        ("DCD_COMPONENT", context.component.clone()),
        ("DCD_PIPELINE", pipeline.name.clone()),
        ("DCD_GIT_SHA", commit.clone()),
        ("DCD_GIT_BRANCH", known(git.map(|git| &git.branch))),
        ("DCD_GIT_DIRTY", dirty),
        ("DCD_IMAGE_DIGEST", digest),
        ("DCD_WORKSPACE", context.workspace.display().to_string()),
        // As in the first DCD.
        ("COMPONENT", context.component.clone()),
        ("GIT_SHA", commit),
        ("BUILD_ID", context.id.clone()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
