//! Starting a build's steps: processes here, plugins on their host.

use std::{collections::BTreeMap, mem::ManuallyDrop, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    commands::{
        attempt::{Attempt, Guest, Invitation},
        locking::LockRequest,
        results::Results,
        secrets::Secrets,
        values::{Place, Values},
    },
    engine::{
        message::{StepContent, StepControl, StepEnd, StepIndex, StepMessage, StepStatus},
        ports::Steps,
    },
    event::{PluginUsed, Problem, StepFinished, StepTests},
    exec::{Processes, Program, Surroundings},
    facts::{Fact, Facts},
    pipeline::{
        self, Action, Command, Condition, Json, Pipeline, Step,
        expression::{EvaluationError, Status, Template},
    },
    plugin::{
        Usage, Workshop,
        step::{StepPlugin, StepRequest},
    },
    products::{Products, Wanted},
    trace::Trace,
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
///
/// The process ends soon after it, so what it keeps of each of thousands of steps is not given back one by one.
pub(super) struct BuildSteps {
    pub(super) pipeline: Pipeline,
    pub(super) context: BuildContext,
    pub(super) processes: Processes,
    pub(super) products: Products,
    pub(super) plugins: BTreeMap<String, StepPlugin>,
    pub(super) environment: ManuallyDrop<Environment>,
    /// Of the plugins that do no step.
    pub(super) usages: Vec<Usage>,
    /// A shell opens where a step failed.
    pub(super) shell_on_failure: bool,
    /// What became of the steps so far.
    pub(super) results: ManuallyDrop<Results>,
    /// The facts as plugins get them, but for the steps; made only when a plugin runs.
    facts_json: Option<Value>,
}

/// The variables of a build's steps, and what their expressions read.
pub(super) struct Environment {
    values: Values,
    secrets: Secrets,
    /// The variables that dcd sets for every step.
    common: Vec<(String, String)>,
    /// With dcd's own, but those that hold secrets.
    surroundings: Arc<Surroundings>,
    /// The build's place in a trace that somebody sends.
    pub(super) trace: Option<Trace>,
    /// The `env` of each scope, with those of the scopes around it.
    scopes: Vec<Result<Vec<(String, String)>, EvaluationError>>,
}

impl Environment {
    pub(super) fn new(
        pipeline: &Pipeline,
        context: &BuildContext,
        params: &[BTreeMap<String, Value>],
        secrets: Secrets,
        hidden: &[String],
    ) -> Self {
        let values = Values::new(pipeline, context, params, hidden);
        let common = common(pipeline, context);
        let own =
            std::env::vars_os().filter(|(name, _)| !hidden.iter().any(|hidden| name == hidden.as_str()));
        let set = common.iter().map(|(name, value)| (name.into(), value.into()));
        let surroundings = Arc::new(own.chain(set).collect());
        let mut environment =
            Environment { values, secrets, common, surroundings, trace: None, scopes: Vec::new() };
        for index in 0..pipeline.scopes.len() {
            let env = environment.scope_env(pipeline, index);
            environment.scopes.push(env);
        }
        environment
    }

    /// A scope comes after its parent.
    fn scope_env(&self, pipeline: &Pipeline, index: usize) -> Result<Vec<(String, String)>, EvaluationError> {
        let scope = &pipeline.scopes[index];
        let mut env = match scope.parent {
            Some(parent) => self.scopes[parent].clone()?,
            None => Vec::new(),
        };
        let nothing = BTreeMap::new();
        let reads = BTreeMap::new();
        for (name, template) in &scope.env {
            let place =
                Place { scope: index, matrix: &nothing, reads: &reads, env: &env, status: Status::default() };
            let value = self.render(template, place)?;
            env.push((name.clone(), value));
        }
        Ok(env)
    }

    /// A step is decided.
    pub(super) fn decided(&mut self, step: StepIndex, result: &StepFinished) {
        self.values.decided(step, result);
    }

    fn render(&self, template: &Template, place: Place<'_>) -> Result<String, EvaluationError> {
        match template.as_plain() {
            Some(text) => Ok(text.to_owned()),
            None => template.render(&self.values.variables(place, template.roots())),
        }
    }

    /// The pipeline's `env` and the step's own.
    fn file_env(&self, step: &Step) -> Result<Vec<(String, String)>, EvaluationError> {
        let mut env = self.scopes[step.scope].clone()?;
        for (name, template) in &step.env {
            let value = self.render(template, place(step, &env))?;
            env.push((name.clone(), value));
        }
        Ok(env)
    }

    /// The process of a step's attempt.
    pub(super) fn program(
        &self,
        context: &BuildContext,
        step: &Step,
        command: &Command,
        attempt: u32,
    ) -> Result<Program, Problem> {
        let file_env = self.file_env(step).map_err(problem)?;
        let directory = match &step.workdir {
            Some(workdir) => {
                context.workspace.join(self.render(workdir, place(step, &file_env)).map_err(problem)?)
            }
            None => context.workspace.clone(),
        };
        let env = self.step_env(step, file_env, attempt)?;
        Ok(Program::new(command, self.surroundings.clone(), env, directory))
    }

    /// What a process of the step gets on top of what all get. What the file says wins over that (it cannot say `DCD_…`).
    fn step_env(
        &self,
        step: &Step,
        file_env: Vec<(String, String)>,
        attempt: u32,
    ) -> Result<Vec<(String, String)>, Problem> {
        let mut env: Vec<_> = self.trace_env(step, attempt).into_iter().collect();
        env.extend(file_env);
        env.extend(self.secrets.of(step)?);
        env.push(("DCD_STEP".into(), step.name.value.clone()));
        env.push(("DCD_ATTEMPT".into(), attempt.to_string()));
        Ok(env)
    }

    /// Where the spans of what the attempt runs belong.
    fn trace_env(&self, step: &Step, attempt: u32) -> Option<(String, String)> {
        let trace = self.trace.as_ref()?;
        Some(("TRACEPARENT".to_owned(), trace.of_attempt(&step.name.value, attempt)))
    }

    /// A plugin's config with the values of its expressions.
    fn config(&self, step: &Step, with: &Json, env: &[(String, String)]) -> Result<Json, EvaluationError> {
        let mut with = with.clone();
        if with.templates.is_empty() {
            return Ok(with);
        }
        for (pointer, template) in std::mem::take(&mut with.templates) {
            let variables = self.values.variables(place(step, env), template.roots());
            if let Some(value) = with.value.pointer_mut(&pointer) {
                *value = template.render_value(&variables)?;
            }
        }
        Ok(with)
    }

    /// Whether one condition holds; if not, why.
    fn condition(
        &self,
        condition: &Condition,
        status: &StepStatus,
    ) -> Result<Option<String>, EvaluationError> {
        let Condition { expression, scope, matrix, reads, .. } = condition;
        let implied = expression.as_ref().is_none_or(|expression| !expression.value.asks_status());
        if implied && !status.status.success {
            return Ok(Some(status.blame.clone().unwrap_or_else(|| "what it needs failed".to_owned())));
        }
        let Some(expression) = expression else { return Ok(None) };
        let env = self.scopes[*scope].clone()?;
        let place = Place { scope: *scope, matrix, reads, env: &env, status: status.status };
        let variables = self.values.variables(place, expression.value.roots());
        let holds = expression.value.holds(&variables)?;
        Ok((!holds).then(|| format!("its `if` does not hold: {}", expression.value.source())))
    }
}

fn place<'p>(step: &'p Step, env: &'p [(String, String)]) -> Place<'p> {
    let Step { scope, matrix, reads, .. } = step;
    Place { scope: *scope, matrix, reads, env, status: Status::default() }
}

fn problem(error: EvaluationError) -> Problem {
    Problem { message: error.message, help: error.help }
}

impl BuildSteps {
    pub(super) fn new(
        pipeline: Pipeline,
        context: BuildContext,
        processes: Processes,
        products: Products,
        plugins: BTreeMap<String, StepPlugin>,
        environment: Environment,
    ) -> Self {
        let names = pipeline.steps.iter().map(|step| step.name.value.as_str());
        BuildSteps {
            results: ManuallyDrop::new(Results::of(names)),
            pipeline,
            context,
            processes,
            products,
            plugins,
            environment: ManuallyDrop::new(environment),
            usages: Vec::new(),
            shell_on_failure: false,
            facts_json: None,
        }
    }

    /// The lock that the pipeline asks for; an error when its name has no value.
    pub(super) fn lock(&self) -> Option<Result<LockRequest, Problem>> {
        let lock = self.pipeline.lock.as_ref()?;
        let (matrix, reads) = (BTreeMap::new(), BTreeMap::new());
        let env = self.environment.scopes[0].clone();
        let name = env.and_then(|env| {
            let status = Status::default();
            self.environment
                .render(&lock.name, Place { scope: 0, matrix: &matrix, reads: &reads, env: &env, status })
        });
        Some(name.map(|name| LockRequest::new(name, lock.wait, &self.context)).map_err(problem))
    }

    /// What is looked for after an attempt.
    fn wanted(&self, step: &Step) -> Result<Wanted, Problem> {
        let scope = &self.environment.scopes[step.scope];
        let globs = |globs: &[Template]| -> Result<Vec<String>, Problem> {
            let render = |glob: &Template| {
                if let Some(plain) = glob.as_plain() {
                    return Ok(plain.to_owned());
                }
                let env = scope.as_ref().map_err(|error| problem(error.clone()))?;
                let glob = self.environment.render(glob, place(step, env)).map_err(problem)?;
                pipeline::refuse_glob(&glob).map(|()| glob)
            };
            globs.iter().map(render).collect()
        };
        Ok(Wanted {
            workspace: self.context.workspace.clone(),
            outputs: globs(&step.outputs)?,
            junit: globs(&step.reports.junit)?,
        })
    }

    fn request(
        &mut self,
        step: StepIndex,
        attempt: u32,
        config: String,
        env: Vec<(String, String)>,
        programs_env: Vec<(String, String)>,
    ) -> StepRequest {
        let facts = self
            .facts_json
            .get_or_insert_with(|| serde_json::to_value(&self.context.facts).unwrap_or_else(|_| json!({})));
        facts["steps"] = self.results.facts();
        let facts = facts.to_string();
        let step = &self.pipeline.steps[step];
        let workspace = self.context.workspace.clone();
        StepRequest {
            config,
            build_id: self.context.id.clone(),
            build_number: self.context.number,
            component: self.context.component.clone(),
            step_name: step.name.value.clone(),
            attempt,
            env,
            secrets: self.environment.secrets.all(),
            own_secrets: step.secrets.iter().map(|name| name.value.clone()).collect(),
            workshop: Workshop::new(Arc::new(self.processes.clone()), programs_env, workspace),
            has_timeout: step.timeout.is_some(),
            workspace: self.context.workspace.display().to_string(),
            inputs: self.inputs(step),
            facts,
        }
    }

    /// The outputs of the steps that this one needs.
    fn inputs(&self, step: &Step) -> Vec<(String, String, String)> {
        let mut inputs = Vec::new();
        for need in &step.needs {
            let name = &self.pipeline.steps[*need].name.value;
            for (key, value) in self.environment.values.outputs(*need) {
                inputs.push((name.clone(), key.clone(), value.to_string()));
            }
        }
        inputs
    }

    fn try_start(
        &mut self,
        index: StepIndex,
        attempt: u32,
        messages: &mpsc::Sender<StepMessage>,
    ) -> Result<StepControl, Problem> {
        let (sender, control) = mpsc::unbounded_channel();
        let step = &self.pipeline.steps[index];
        let wanted = self.wanted(step)?;
        match &step.action {
            Action::Run(command) => {
                let program = self.environment.program(&self.context, step, &command.value, attempt)?;
                let shell = self.shell_on_failure.then(|| Invitation::new(step, &command.value));
                let attempt = Attempt { step: index, number: attempt, program, wanted, shell };
                let (processes, products) = (self.processes.clone(), self.products.clone());
                let running = tokio::spawn(attempt.run(processes, products, messages.clone(), control));
                tokio::spawn(watch(running, index, messages.clone()));
            }
            Action::Uses { plugin, with } => {
                // The plugin gets what its own step says, and not what is meant for processes.
                let common = self.environment.scopes[step.scope].as_ref().map_or(0, Vec::len);
                let env = self.environment.file_env(step).map_err(problem)?;
                let with = self.environment.config(step, with, &env).map_err(problem)?;
                let plugin = self.plugins[&plugin.value].clone();
                if let Some(wrong) = plugin.check_schema(&with).into_iter().next() {
                    return Err(Problem { message: wrong.message, help: wrong.help });
                }
                let mut programs_env = self.environment.common.clone();
                programs_env.extend(self.environment.step_env(step, env.clone(), attempt)?);
                let mut env = env[common..].to_vec();
                env.extend(self.environment.trace_env(step, attempt));
                env.extend(self.environment.secrets.of(step)?);
                let request = self.request(index, attempt, with.value.to_string(), env, programs_env);
                let guest = Guest { step: index, number: attempt, wanted };
                if guest.wanted.is_empty() {
                    plugin.start(request, index, messages.clone(), control);
                } else {
                    let start = move |messages, control| plugin.start(request, index, messages, control);
                    let running = guest.run(self.products.clone(), messages.clone(), control, start);
                    tokio::spawn(watch(tokio::spawn(running), index, messages.clone()));
                }
            }
        }
        Ok(sender)
    }
}

/// Says the end of an attempt whose task broke: without one the build would wait for ever.
async fn watch(running: JoinHandle<()>, step: StepIndex, messages: mpsc::Sender<StepMessage>) {
    if running.await.is_err() {
        let fault = Problem::new("dcd broke while it ran the step", "this is a fault of dcd: report it");
        let content = StepContent::Finished(Box::new(StepEnd::error(fault)));
        let _ = messages.send(StepMessage { step, content }).await;
    }
}

impl Steps for BuildSteps {
    fn decide(&mut self, step: StepIndex, statuses: &[StepStatus]) -> Result<Option<String>, Problem> {
        for (condition, status) in self.pipeline.steps[step].conditions.iter().zip(statuses) {
            if let Some(reason) = self.environment.condition(condition, status).map_err(problem)? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    fn tested(&mut self, step: StepIndex, tests: &StepTests) {
        self.results.tested(step, &tests.cases);
    }

    fn finished(&mut self, step: StepIndex, result: &StepFinished) {
        self.environment.decided(step, result);
        self.results.decided(step, result);
    }

    fn start(&mut self, step: StepIndex, attempt: u32, messages: mpsc::Sender<StepMessage>) -> StepControl {
        self.results.started(step, attempt);
        self.try_start(step, attempt, &messages).unwrap_or_else(|problem| {
            let content = StepContent::Finished(Box::new(StepEnd::error(problem)));
            tokio::spawn(async move { messages.send(StepMessage { step, content }).await });
            // Nobody is there to be stopped.
            mpsc::unbounded_channel().0
        })
    }

    fn used(&self) -> Vec<PluginUsed> {
        self.usages.iter().filter_map(Usage::so_far).collect()
    }
}

fn common(pipeline: &Pipeline, context: &BuildContext) -> Vec<(String, String)> {
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
