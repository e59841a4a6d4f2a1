//! Step types: checking a config, and running a step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    engine::message::{StepContent, StepEnd, StepIndex, StepMessage, Stop},
    event::{Outcome, Problem},
    pipeline::Json,
    plugin::{
        Answers, Grants, Host, Kind, Manifest, PluginError,
        bindings::{
            step::{
                StepType,
                exports::dcd::plugin::step::{StepContext, StepError, StepOutput},
            },
            types::{Diagnostic, Error, Fault},
        },
        call::{QUICK, limited},
        describe,
        engine::Compiled,
        given::{Given, Running, Secrets, Workshop},
        guest::{Io, SAID_LIMIT},
        locate::Located,
        schema::{Schema, path},
        warden::{Notes, Warden, refusal},
    },
    text::clip,
};

/// How long a step may take that has no `timeout` of its own.
const RUN_LIMIT: Duration = Duration::from_hours(1);
/// How much a step's outputs may be.
const OUTPUTS_LIMIT: usize = 4 << 20;
/// The end of a step that has one: its timeout and its grace come long before.
const NEVER: Duration = Duration::from_hours(24 * 366);

/// A step type that is ready to be used.
#[derive(Clone)]
pub struct StepPlugin {
    compiled: Compiled,
    schema: Arc<Schema>,
}

/// What a step type is told of the step that it runs.
#[derive(Clone, Debug)]
pub struct StepRequest {
    /// The step's config.
    pub config: String,
    /// The build's id.
    pub build_id: String,
    /// The build's number, once it has one.
    pub build_number: Option<u64>,
    /// What is built.
    pub component: String,
    /// The step's name.
    pub step_name: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Its environment, beside what it is granted.
    pub env: Vec<(String, String)>,
    /// The pipeline's secrets.
    pub secrets: Arc<Secrets>,
    /// Those that it gets without a grant: its step names them.
    pub own_secrets: Vec<String>,
    /// What its programs get.
    pub workshop: Workshop,
    /// Somebody else stops it when it takes too long.
    pub has_timeout: bool,
    /// Absolute.
    pub workspace: String,
    /// Outputs of earlier steps: step, name, value.
    pub inputs: Vec<(String, String, String)>,
    /// The build's facts, as JSON.
    pub facts: String,
}

impl StepPlugin {
    /// Compiles the plugin, or takes its compiled form, and its config's schema.
    pub fn load(host: &Host, located: &Located, grants: Grants) -> Result<Self, PluginError> {
        expect_kind(located, Kind::StepType, "a step's `uses`")?;
        let (compiled, schema) = describe::load(host, located, grants)?;
        Ok(StepPlugin { compiled, schema: Arc::new(schema) })
    }

    /// The same plugin with these grants instead, whose requests `answers` answers and not the network.
    #[must_use]
    pub fn rehearsal(&self, manifest: &Manifest, grants: Grants, answers: Arc<dyn Answers>) -> Self {
        let compiled = self.compiled.rehearsal(manifest, grants, answers);
        StepPlugin { compiled, schema: self.schema.clone() }
    }

    /// What is wrong with a step's config by its schema.
    pub fn check_schema(&self, with: &Json) -> Vec<PluginError> {
        self.schema.check(with)
    }

    /// What is wrong with a step's config: by its schema, else by the plugin itself. One with expressions is
    /// not shown to the plugin before they have values.
    pub fn check(&self, with: &Json) -> Result<Vec<PluginError>, PluginError> {
        let wrong = self.schema.check(with);
        if !wrong.is_empty() || !with.templates.is_empty() {
            return Ok(wrong);
        }
        let plugin = self.compiled.clone();
        let config = with.value.to_string();
        let answer = self.compiled.runtime.block_on(async move {
            let warden = plugin.strict_warden();
            let mut store = plugin.store(&warden, Given::default())?;
            limited(&warden, "validate", QUICK, async {
                let instance = plugin.pre.instantiate_async(&mut store).await?;
                let guest = StepType::new(&mut store, &instance)?;
                guest.dcd_plugin_step().call_validate(&mut store, &config).await
            })
            .await
        })?;
        findings(&self.compiled.name, answer, with)
    }

    /// Runs a step's attempt on the plugins' runtime. All it prints and its end go to `messages`.
    pub fn start(
        &self,
        request: StepRequest,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
    ) {
        let attempt = attempt(self.compiled.clone(), request, step, messages.clone(), control);
        let running = self.compiled.runtime.spawn(attempt);
        self.compiled.runtime.spawn(async move {
            // Without an end from it the build would wait for ever.
            let end = running.await.unwrap_or_else(|_| {
                let what = "dcd broke while it ran the step's plugin";
                StepEnd::error(Problem::new(what, "this is a fault of dcd: report it"))
            });
            // The dispatcher is gone only when the build was given up.
            let _ = messages.send(StepMessage { step, content: StepContent::Finished(Box::new(end)) }).await;
        });
    }
}

/// From the plugin's start to all there is to say of it but its end.
async fn attempt(
    plugin: Compiled,
    request: StepRequest,
    step: StepIndex,
    messages: mpsc::Sender<StepMessage>,
    control: mpsc::UnboundedReceiver<Stop>,
) -> StepEnd {
    let cancelled = Arc::new(AtomicBool::new(false));
    let warden = plugin.warden(Io::Step { messages: messages.clone(), step, cancelled: cancelled.clone() });
    let programs = request.workshop.running.clone();
    let answer = tokio::select! {
        // First: what was said before the start is known to the plugin's first question.
        biased;
        () = killed(control, &cancelled, &programs) => Ok(Err(StepError::Cancelled)),
        answer = run(&plugin, request, &warden) => answer,
    };
    // Who denies says what would allow it.
    let denied = matches!(answer, Ok(Err(StepError::Broken(Error::Denied(_)))));
    let mut end = end(&plugin.name, answer);
    // Its program was told to end when it was dropped.
    programs.ended().await;
    let Notes { refused, unsaid, .. } = warden.take_notes();
    let told = |problem: &Problem, what: &str| {
        problem.message.contains(what) || problem.help.as_ref().is_some_and(|help| help.contains(what))
    };
    if let (Outcome::Error, Some(problem)) = (end.outcome, &mut end.problem)
        && problem.help.is_none()
    {
        // What it was refused explains it best. Else a plugin that cannot do its job often lacks a grant.
        let lacking = || plugin.lacking_for(&problem.message).filter(|_| !denied);
        problem.help = refused.or_else(lacking).filter(|help| !told(problem, help));
    }
    for reason in unsaid {
        if !end.problem.as_ref().is_some_and(|problem| told(problem, &reason)) {
            warden.io.log(refusal(reason)).await;
        }
    }
    if let Some(used) = warden.usage.so_far() {
        let _ = messages.send(StepMessage { step, content: StepContent::Used(used) }).await;
    }
    end
}

/// Until the step is to end at once; before that, the guest and its program are told that they should stop.
async fn killed(mut control: mpsc::UnboundedReceiver<Stop>, cancelled: &AtomicBool, programs: &Running) {
    loop {
        match control.recv().await {
            Some(Stop::Grace) => {
                cancelled.store(true, Ordering::Relaxed);
                programs.stop(Stop::Grace);
            }
            Some(Stop::Kill) => return,
            None => std::future::pending().await,
        }
    }
}

type Answer = Result<Result<StepOutput, StepError>, PluginError>;

async fn run(plugin: &Compiled, request: StepRequest, warden: &Warden) -> Answer {
    let context = StepContext {
        build_id: request.build_id,
        build_number: request.build_number,
        component: request.component,
        step_name: request.step_name,
        attempt: request.attempt,
        workspace: request.workspace,
        inputs: request.inputs,
        facts: request.facts,
    };
    let usual = if request.has_timeout { NEVER } else { RUN_LIMIT };
    let limit = plugin.grants.limits().call_timeout.unwrap_or(usual);
    let given = Given {
        env: request.env,
        secrets: request.secrets,
        own_secrets: request.own_secrets,
        workshop: Some(request.workshop),
        clock_ahead_ms: 0,
    };
    let mut store = plugin.store(warden, given)?;
    limited(warden, "run", limit, async {
        let instance = plugin.pre.instantiate_async(&mut store).await?;
        let guest = StepType::new(&mut store, &instance)?;
        guest.dcd_plugin_step().call_run(&mut store, &request.config, &context).await
    })
    .await
}

fn end(plugin: &str, answer: Answer) -> StepEnd {
    match answer {
        Ok(Ok(output)) => success(plugin, output),
        Ok(Err(StepError::Failed(fault))) => {
            StepEnd { problem: Some(problem(fault)), ..StepEnd::new(Outcome::Failure) }
        }
        Ok(Err(StepError::Cancelled)) => StepEnd::new(Outcome::Cancellation),
        Ok(Err(StepError::Broken(error))) => StepEnd::error(plugin_error(plugin, error).into()),
        Err(error) => StepEnd::error(error.into()),
    }
}

fn success(plugin: &str, output: StepOutput) -> StepEnd {
    let wrong = |what: String| StepEnd::error(Problem::new(what, "report this to the plugin's author"));
    let size: usize = output.outputs.iter().map(|(name, json)| name.len() + json.len()).sum();
    if size > OUTPUTS_LIMIT {
        return wrong(format!(
            "plugin {plugin} gave outputs of {size} bytes, more than its limit of {OUTPUTS_LIMIT}"
        ));
    }
    let mut outputs = BTreeMap::new();
    for (name, json) in output.outputs {
        match serde_json::from_str(&json) {
            Ok(value) => outputs.insert(name, value),
            Err(error) => {
                return wrong(format!("plugin {plugin} gave an output `{name}` that is not JSON: {error}"));
            }
        };
    }
    let summary = output.summary.map(|summary| clip(&summary, SAID_LIMIT).to_owned());
    StepEnd { outputs, summary, ..StepEnd::new(Outcome::Success) }
}

pub(crate) fn problem(fault: Fault) -> Problem {
    let code = fault.code.map_or_else(String::new, |code| format!(" ({code})"));
    let said = format!("{}{code}", fault.message);
    Problem {
        message: clip(&said, SAID_LIMIT).to_owned(),
        help: fault.help.map(|help| clip(&help, SAID_LIMIT).to_owned()),
    }
}

/// A plugin's error as one of ours.
pub(crate) fn plugin_error(plugin: &str, error: Error) -> PluginError {
    let (message, help) = match error {
        Error::InvalidConfig(diagnostics) => {
            let said: Vec<_> = diagnostics
                .iter()
                .map(|wrong| format!("{}: {}", path(&wrong.pointer), wrong.message))
                .collect();
            (
                format!("its config is wrong: {}", said.join("; ")),
                diagnostics.into_iter().find_map(|wrong| wrong.help),
            )
        }
        Error::Unsupported(what) => (format!("it does not support `{what}`"), None),
        Error::Denied(fault) | Error::NotFound(fault) | Error::Unavailable(fault) | Error::Other(fault) => {
            let Problem { message, help } = problem(fault);
            (message, help)
        }
    };
    let named = message.starts_with(&format!("plugin {plugin} "));
    let message = if named { message } else { format!("plugin {plugin}: {message}") };
    PluginError { message, help, span: None }
}

/// Refuses a plugin that is for something else.
pub(crate) fn expect_kind(located: &Located, kind: Kind, place: &str) -> Result<(), PluginError> {
    let manifest = &located.manifest;
    if manifest.kind == kind {
        return Ok(());
    }
    Err(PluginError::new(format!(
        "plugin {} is a {}, and {place} needs a {}",
        manifest.name,
        manifest.kind.as_str(),
        kind.as_str()
    ))
    .help("`dcd plugin list` shows which plugins there are, and what each is for"))
}

/// What a plugin finds wrong with a config.
pub(crate) fn findings(
    plugin: &str,
    answer: Result<Vec<Diagnostic>, Error>,
    with: &Json,
) -> Result<Vec<PluginError>, PluginError> {
    match answer {
        Ok(wrong) | Err(Error::InvalidConfig(wrong)) => {
            Ok(wrong.into_iter().map(|diagnostic| located_in(plugin, diagnostic, with)).collect())
        }
        Err(error) => Err(plugin_error(plugin, error)),
    }
}

fn located_in(plugin: &str, diagnostic: Diagnostic, with: &Json) -> PluginError {
    let what = match diagnostic.pointer.as_str() {
        "" => format!("the config of plugin {plugin}"),
        pointer => format!("`{}` of plugin {plugin}", path(pointer)),
    };
    let mut error =
        PluginError::new(format!("{what}: {}", diagnostic.message)).at(with.span(&diagnostic.pointer));
    error.help = diagnostic.help;
    error
}
