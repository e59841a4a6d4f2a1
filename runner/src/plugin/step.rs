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
        Grants, Host, Kind, Manifest, PluginError,
        bindings::{
            step::{
                StepType,
                exports::dcd::plugin::step::{StepContext, StepError, StepOutput},
            },
            types::{Diagnostic, Error, Fault},
        },
        call::{QUICK, limited},
        engine::{Access, Compiled},
        guest::{Io, SAID_LIMIT, Tail},
        locate::Located,
        schema::{Schema, path},
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
    /// Compiles the plugin and asks it for its config's schema.
    pub fn load(host: &Host, located: &Located, grants: Grants) -> Result<Self, PluginError> {
        expect_kind(located, Kind::StepType, "a step's `uses`")?;
        let compiled = host.compile(located, grants)?;
        let plugin = compiled.clone();
        let info = compiled.runtime.block_on(async move {
            let mut store = plugin.store(Io::Tail(Tail::default()), Access::Nothing)?;
            limited(&plugin.name, "describe", QUICK, async {
                let instance = plugin.pre.instantiate_async(&mut store).await?;
                let guest = StepType::new(&mut store, &instance)?;
                guest.dcd_plugin_step().call_describe(&mut store).await
            })
            .await
        })?;
        let schema = Schema::parse(&compiled.name, &info.config_schema)?;
        Ok(StepPlugin { compiled, schema: Arc::new(schema) })
    }

    /// The same plugin with these grants instead.
    pub fn granted(&self, manifest: &Manifest, grants: Grants) -> Self {
        StepPlugin { compiled: self.compiled.granted(manifest, grants), schema: self.schema.clone() }
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
            let mut store = plugin.store(Io::Tail(Tail::default()), Access::Nothing)?;
            limited(&plugin.name, "validate", QUICK, async {
                let instance = plugin.pre.instantiate_async(&mut store).await?;
                let guest = StepType::new(&mut store, &instance)?;
                guest.dcd_plugin_step().call_validate(&mut store, &config).await
            })
            .await
        })?;
        match answer {
            Ok(diagnostics) | Err(Error::InvalidConfig(diagnostics)) => Ok(diagnostics
                .into_iter()
                .map(|diagnostic| located_in(&self.compiled.name, diagnostic, with))
                .collect()),
            Err(error) => Err(plugin_error(&self.compiled.name, error)),
        }
    }

    /// Runs a step's attempt on the plugins' runtime. All it prints and its end go to `messages`.
    pub fn start(
        &self,
        request: StepRequest,
        step: StepIndex,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
    ) {
        let plugin = self.compiled.clone();
        self.compiled.runtime.spawn(async move {
            let cancelled = Arc::new(AtomicBool::new(false));
            let io = Io::Step { messages: messages.clone(), step, cancelled: cancelled.clone() };
            let end = tokio::select! {
                end = run(&plugin, request, io) => end,
                () = killed(control, &cancelled) => StepEnd::new(Outcome::Cancellation),
            };
            // The dispatcher is gone only when the build was given up.
            let _ = messages.send(StepMessage { step, content: StepContent::Finished(Box::new(end)) }).await;
        });
    }
}

/// Until the step is to end at once; before that, the guest is told that it should stop.
async fn killed(mut control: mpsc::UnboundedReceiver<Stop>, cancelled: &AtomicBool) {
    loop {
        match control.recv().await {
            Some(Stop::Grace) => cancelled.store(true, Ordering::Relaxed),
            Some(Stop::Kill) => return,
            None => std::future::pending().await,
        }
    }
}

async fn run(plugin: &Compiled, request: StepRequest, io: Io) -> StepEnd {
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
    let limit = if request.has_timeout { NEVER } else { RUN_LIMIT };
    let answer = async {
        let mut store = plugin.store(io, Access::Granted(&request.env))?;
        limited(&plugin.name, "run", limit, async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            let guest = StepType::new(&mut store, &instance)?;
            guest.dcd_plugin_step().call_run(&mut store, &request.config, &context).await
        })
        .await
    };
    match answer.await {
        Ok(Ok(output)) => success(&plugin.name, output),
        Ok(Err(StepError::Failed(fault))) => {
            StepEnd { problem: Some(problem(fault)), ..StepEnd::new(Outcome::Failure) }
        }
        Ok(Err(StepError::Cancelled)) => StepEnd::new(Outcome::Cancellation),
        // Who denies says what would allow it.
        Ok(Err(StepError::Broken(error @ Error::Denied(_)))) => {
            StepEnd::error(plugin_error(&plugin.name, error).into())
        }
        Ok(Err(StepError::Broken(error))) => {
            StepEnd::error(with_lacking(plugin, plugin_error(&plugin.name, error)))
        }
        Err(error) => StepEnd::error(error.into()),
    }
}

/// A plugin that cannot do its job is often one that lacks a grant.
fn with_lacking(plugin: &Compiled, error: PluginError) -> Problem {
    let mut problem = Problem::from(error);
    if let (None, Some(lacking)) = (&problem.help, &plugin.lacking) {
        problem.help = Some(lacking.to_string());
    }
    problem
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
