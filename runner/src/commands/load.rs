//! Reading a pipeline file and the plugins that it uses, and saying all that is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    commands::{output, secrets},
    error::{CommandError, Exit},
    facts,
    pipeline::{self, Action, Diagnostic, Pipeline, PluginUse},
    plugin::{
        self, Grants, Host, PluginError, Usage,
        backend::HistoryPlugin,
        grants_file,
        locate::{Located, Locator},
        observer::ObserverPlugin,
        step::StepPlugin,
    },
    report::Style,
    text::{duration, harmless_line, hex},
};

/// What a start may spend on compiling plugins before it is worth a line.
const SLOW: Duration = Duration::from_millis(200);

/// A pipeline file that was read and found right.
pub(super) struct Loaded {
    pub(super) pipeline: Pipeline,
    pub(super) definition: facts::Definition,
}

/// The plugins of a pipeline, ready to be used.
#[derive(Default)]
pub(super) struct Plugins {
    /// `None` when the pipeline uses no plugin: then nothing of the host was started.
    pub(super) host: Option<Host>,
    pub(super) steps: BTreeMap<String, StepPlugin>,
    pub(super) history: Option<HistoryPlugin>,
    pub(super) observers: Vec<ObserverPlugin>,
    pub(super) records: Vec<facts::Plugin>,
    /// The pipeline's secrets that they are granted.
    pub(super) secrets: BTreeSet<String>,
}

/// The directory that everything is relative to.
pub(super) fn workspace() -> Result<PathBuf, CommandError> {
    std::env::current_dir().map_err(|error| {
        CommandError::environment(format!("the current directory cannot be found: {error}"))
            .help("start dcd in a directory that exists; in a container, mount it and name it with `-w`")
    })
}

/// Reads and checks the file.
pub(super) fn pipeline(workspace: &Path, file: &Path) -> Result<Loaded, CommandError> {
    let bytes = std::fs::read(workspace.join(file)).map_err(|error| unreadable(workspace, file, &error))?;
    let name = file.display().to_string();
    let sha256 = hex(&Sha256::digest(&bytes));
    let text = String::from_utf8(bytes).map_err(|error| {
        let before =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = before.split('\n').count();
        let column = before.split('\n').next_back().map_or(0, |line| line.chars().count()) + 1;
        CommandError::usage(
            format!("{name}:{line}:{column}: what begins here is not UTF-8 text"),
            "save the file as UTF-8",
        )
    })?;
    // What a file names is relative to it, and stays in the workspace.
    let path = file.strip_prefix(workspace).unwrap_or(file).display().to_string();
    match pipeline::parse(&text, &path, &mut |path| read_used(workspace, path)) {
        Ok(pipeline) => {
            let includes = pipeline.sources.iter().skip(1).map(included).collect();
            Ok(Loaded { pipeline, definition: facts::Definition { path: name, sha256, text, includes } })
        }
        Err(wrong) => Err(rendered(&wrong.diagnostics, &wrong.sources)),
    }
}

/// The text of a file that another names.
fn read_used(workspace: &Path, path: &str) -> Result<String, String> {
    let bytes = std::fs::read(workspace.join(path)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        _ => format!("this file cannot be read: {error}"),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        format!("this file is not UTF-8 text (line {line})")
    })
}

fn included(source: &pipeline::Source) -> facts::IncludedFile {
    facts::IncludedFile {
        path: source.path.clone(),
        sha256: hex(&Sha256::digest(source.text.as_bytes())),
        text: source.text.clone(),
    }
}

fn unreadable(workspace: &Path, file: &Path, error: &std::io::Error) -> CommandError {
    let name = file.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => CommandError::usage(
            format!("there is no pipeline file {name} in {}", workspace.display()),
            "write one, for example: {\"steps\": [{\"name\": \"test\", \"run\": \"make test\"}]}\n      \
             or go to the directory that has it, or name another one: dcd run FILE",
        ),
        std::io::ErrorKind::IsADirectory => {
            CommandError::usage(format!("{name} is a directory"), "name the pipeline file in it")
        }
        _ => CommandError::usage(format!("cannot read {name}: {error}"), "check its permissions"),
    }
}

/// Diagnostics as a person reads them.
pub(super) fn rendered(wrong: &[Diagnostic], sources: &[pipeline::Source]) -> CommandError {
    let stderr = std::io::stderr();
    let colour = Style::of(&stderr).is_coloured();
    let width = if stderr.is_terminal() { terminal_width() } else { 100 };
    CommandError::rendered(Exit::Usage, pipeline::render(wrong, sources, colour, width))
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .map_or(100, |size| usize::from(size.ws_col).clamp(60, 120))
}

/// Finds, compiles and asks the plugins that the pipeline uses; checks every config.
pub(super) fn plugins(workspace: &Path, loaded: &Loaded) -> Result<Plugins, CommandError> {
    let pipeline = &loaded.pipeline;
    let mut wrong = Vec::new();
    let plugins = collect(workspace, pipeline, &mut wrong);
    if wrong.is_empty() {
        hints(plugins.host.as_ref());
        return Ok(plugins);
    }
    wrong.sort_by_key(|diagnostic| diagnostic.span.start);
    Err(rendered(&wrong, &pipeline.sources))
}

fn collect(workspace: &Path, pipeline: &Pipeline, wrong: &mut Vec<Diagnostic>) -> Plugins {
    let mut plugins = Plugins::default();
    let locator = Locator::new(workspace, &pipeline.plugins);
    let mut failed: Vec<&str> = Vec::new();
    let mut checked = HashSet::new();
    for step in &pipeline.steps {
        let Action::Uses { plugin, with } = &step.action else { continue };
        let name = plugin.value.as_str();
        // What is wrong with a plugin itself is said once, not for every step that uses it.
        if failed.contains(&name) {
            continue;
        }
        // The steps of a matrix, and of a file that is used twice, have one config.
        if !checked.insert(plugin.span.start) {
            continue;
        }
        let result = match plugins.steps.get(name) {
            Some(loaded) => loaded.check(with),
            None => load_step(workspace, pipeline, &locator, plugin, &mut plugins)
                .and_then(|loaded| loaded.check(with)),
        };
        match result {
            Ok(errors) => wrong.extend(errors.into_iter().map(|error| diagnostic(error, with.span("")))),
            Err(error) => {
                failed.push(name);
                wrong.push(diagnostic(error, plugin.span.clone()));
            }
        }
    }
    if let Some(history) = &pipeline.history {
        match load_history(workspace, pipeline, &locator, history, &mut plugins) {
            Ok(errors) => {
                wrong.extend(errors.into_iter().map(|error| diagnostic(error, history.with.span(""))));
            }
            Err(error) => wrong.push(diagnostic(error, history.uses.span.clone())),
        }
    }
    for observer in &pipeline.observers {
        match load_observer(workspace, pipeline, &locator, observer, &mut plugins) {
            Ok(errors) => {
                wrong.extend(errors.into_iter().map(|error| diagnostic(error, observer.with.span(""))));
            }
            Err(error) => wrong.push(diagnostic(error, observer.uses.span.clone())),
        }
    }
    plugins
}

fn load_step(
    workspace: &Path,
    pipeline: &Pipeline,
    locator: &Locator<'_>,
    name: &pipeline::Spanned<String>,
    plugins: &mut Plugins,
) -> Result<StepPlugin, PluginError> {
    let located = locator.find(&name.value, &name.span)?;
    let grants = grants(&located, pipeline, workspace, &name.span)?;
    plugins.granted(pipeline, &grants);
    let record = record(&located, &grants, workspace);
    let loaded = StepPlugin::load(plugins.host()?, &located, grants)?;
    plugins.records.push(record);
    plugins.steps.insert(name.value.clone(), loaded.clone());
    Ok(loaded)
}

/// Loads the history backend; gives back what is wrong with its config.
fn load_history(
    workspace: &Path,
    pipeline: &Pipeline,
    locator: &Locator<'_>,
    history: &PluginUse,
    plugins: &mut Plugins,
) -> Result<Vec<PluginError>, PluginError> {
    let located = locator.find(&history.uses.value, &history.uses.span)?;
    let grants = grants(&located, pipeline, workspace, &history.uses.span)?;
    let record = record(&located, &grants, workspace);
    plugins.granted(pipeline, &grants);
    let secrets = secrets::granted(workspace, &pipeline.secrets, &grants);
    let (backend, wrong) = HistoryPlugin::load(plugins.host()?, &located, grants, secrets, &history.with)?;
    plugins.records.push(record);
    plugins.history = Some(backend);
    Ok(wrong)
}

/// Loads an observer; gives back what is wrong with its config.
fn load_observer(
    workspace: &Path,
    pipeline: &Pipeline,
    locator: &Locator<'_>,
    observer: &PluginUse,
    plugins: &mut Plugins,
) -> Result<Vec<PluginError>, PluginError> {
    let located = locator.find(&observer.uses.value, &observer.uses.span)?;
    let grants = grants(&located, pipeline, workspace, &observer.uses.span)?;
    let record = record(&located, &grants, workspace);
    plugins.granted(pipeline, &grants);
    let secrets = secrets::granted(workspace, &pipeline.secrets, &grants);
    let (loaded, wrong) = ObserverPlugin::load(plugins.host()?, &located, grants, secrets, &observer.with)?;
    // One plugin may be two observers.
    if !plugins.records.contains(&record) {
        plugins.records.push(record);
    }
    plugins.observers.push(loaded);
    Ok(wrong)
}

impl Plugins {
    /// Notes which secrets these grants are for.
    fn granted(&mut self, pipeline: &Pipeline, grants: &Grants) {
        let names = pipeline.secrets.iter().map(|secret| &secret.name.value);
        self.secrets.extend(names.filter(|name| grants.secret(name)).cloned());
    }

    /// What those that do no step make use of.
    pub(super) fn usages(&self) -> Vec<Usage> {
        let observers = self.observers.iter().map(ObserverPlugin::usage);
        self.history.iter().map(HistoryPlugin::usage).chain(observers).collect()
    }

    /// Started with the first plugin that was found.
    fn host(&mut self) -> Result<&Host, PluginError> {
        match &mut self.host {
            Some(host) => Ok(host),
            empty => Ok(empty.insert(Host::new()?)),
        }
    }
}

/// The history backend alone, if the pipeline names one.
pub(super) fn history(
    workspace: &Path,
    loaded: &Loaded,
) -> Result<Option<(Host, HistoryPlugin)>, CommandError> {
    let pipeline = &loaded.pipeline;
    let Some(history) = &pipeline.history else { return Ok(None) };
    let locator = Locator::new(workspace, &pipeline.plugins);
    let mut plugins = Plugins::default();
    let wrong = match load_history(workspace, pipeline, &locator, history, &mut plugins) {
        Ok(errors) => errors.into_iter().map(|error| diagnostic(error, history.with.span(""))).collect(),
        Err(error) => vec![diagnostic(error, history.uses.span.clone())],
    };
    if wrong.is_empty() {
        hints(plugins.host.as_ref());
        return Ok(plugins.host.zip(plugins.history));
    }
    Err(rendered(&wrong, &pipeline.sources))
}

/// Says what a start spent on plugins that an installation would have spared it.
fn hints(host: Option<&Host>) {
    let (stale, absent): (Vec<_>, Vec<_>) =
        host.map(Host::hints).unwrap_or_default().into_iter().partition(|hint| hint.stale.is_some());
    for hint in stale {
        output::hint(&harmless_line(&format!(
            "plugin {} was compiled at this start, in {}: {}; {} mends that",
            hint.plugin,
            duration(hint.took),
            hint.stale.unwrap_or_default(),
            plugin::install_command(&hint.path)
        )));
    }
    let took: Duration = absent.iter().map(|hint| hint.took).sum();
    if took > SLOW {
        let names: Vec<_> = absent.iter().map(|hint| hint.plugin.as_str()).collect();
        output::hint(&harmless_line(&format!(
            "to compile {} took {} of this start; `RUN [\"/dcd\", \"plugin\", \"install\", \"--all\"]` in the \
             image's Dockerfile does it once",
            names.join(", "),
            duration(took)
        )));
    }
}

/// What the plugin may touch, by what the image and the pipeline grant it. `at` is the place that uses it.
pub(super) fn grants(
    located: &Located,
    pipeline: &Pipeline,
    workspace: &Path,
    at: &pipeline::Span,
) -> Result<Grants, PluginError> {
    let block = pipeline.plugins.get(&located.manifest.name);
    grants_file::effective(&located.manifest, located.image.as_ref(), block, workspace, at)
}

/// What the build's record says of a plugin.
pub(super) fn record(located: &Located, grants: &Grants, workspace: &Path) -> facts::Plugin {
    facts::Plugin {
        name: located.manifest.name.clone(),
        version: located.manifest.version.clone(),
        kind: located.manifest.kind.as_str().to_owned(),
        api: located.manifest.api.clone(),
        path: located.path.display().to_string(),
        sha256: located.sha256.clone(),
        grants: grants.describe(),
        image_grants: grants_file::of_image(located, workspace).describe(),
    }
}

/// A plugin's words are not trusted with the terminal.
fn diagnostic(error: PluginError, place: pipeline::Span) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(error.span.unwrap_or(place), harmless_line(&error.message));
    diagnostic.help = error.help.map(|help| harmless_line(&help));
    diagnostic
}
