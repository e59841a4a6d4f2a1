//! What a pipeline is, once it has been read and found right.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_json::Value;

use super::expression::{Expression, Template};
use crate::event::Outcome;

/// A place in the files that were read, in bytes: a file's places begin where those of the one before it end
/// ([`Source::starts`]), so that those of the file that is run are its own.
pub type Span = Range<usize>;

/// A value with the place that it was read from, so that what is found wrong later can still be shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A pipeline: the file that is run, with everything that it includes put in its place.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Shown to people; the file's stem when the file names none.
    pub name: String,
    /// The thing that is built. `None`: the repository's name, which is known only when the build starts.
    pub component: Option<String>,
    /// Where secrets come from, of all files.
    pub secrets: Vec<Secret>,
    /// How long the whole build may take.
    pub timeout: Option<Duration>,
    /// What must be true before the first step, of all files.
    pub require: Require,
    /// What is held while the build runs.
    pub lock: Option<Lock>,
    /// What is said of plugins, by plugin name, of all files.
    pub plugins: BTreeMap<String, PluginBlock>,
    /// The history backend that builds are replicated to.
    pub history: Option<PluginUse>,
    /// Who follows the builds.
    pub observers: Vec<PluginUse>,
    /// The files that were read; the first is the one that is run.
    pub sources: Vec<Source>,
    /// Each use of a file, with its params and its `env`; the first is the file that is run.
    pub scopes: Vec<Scope>,
    /// In the order of the file, each after those that it needs. Never empty.
    pub steps: Vec<Step>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Relative to the workspace.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// Where each file's places begin.
    pub fn starts(sources: &[Source]) -> impl Iterator<Item = usize> {
        sources.iter().scan(0, |next, source| {
            let start = *next;
            *next += source.text.len() + 1;
            Some(start)
        })
    }
}

/// One use of a file: by the command line, or by another file's step.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The file, in [`Pipeline::sources`].
    pub source: usize,
    /// Who uses it, in [`Pipeline::scopes`]. `None` for the file that is run.
    pub parent: Option<usize>,
    /// What the file declares.
    pub params: Vec<Param>,
    /// What the using step gives for them. Its expressions read the parent's params, and `matrix` below.
    pub given: BTreeMap<String, Spanned<TemplateValue>>,
    /// The using step's combination, for the expressions of `given`.
    pub matrix: BTreeMap<String, Value>,
    /// Added to the environment of this file's steps, in the file's order.
    pub env: Vec<(String, Template)>,
}

/// A JSON scalar, or a string with expressions in it.
#[derive(Clone, Debug)]
pub enum TemplateValue {
    /// As it stands.
    Plain(Value),
    /// To be evaluated.
    Template(Template),
}

/// `params.NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name: letters, digits and `_`.
    pub name: Spanned<String>,
    /// Which values it takes.
    pub kind: ParamType,
    /// There is no default: who runs the pipeline must say it.
    pub required: bool,
    /// Used when nobody says it.
    pub default: Option<Value>,
    /// The only values that it takes; empty: any of its type.
    pub choices: Vec<Value>,
    /// For people.
    pub description: Option<String>,
}

/// See [`Param::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
}

/// `secrets.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The variable that steps get it in.
    pub name: Spanned<String>,
    /// Where its value comes from.
    pub from: SecretSource,
}

/// See [`Secret::from`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of dcd's environment.
    Env(String),
    /// A file, absolute or relative to the workspace; one line end at its end is not part of the value.
    File(String),
}

/// `require`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// What the repository's state must be.
    pub git: Vec<Spanned<GitRequirement>>,
    /// The container and its image must be known.
    pub docker: bool,
    /// The history backend must have given the build its number.
    pub history: bool,
}

/// One element of `require.git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitRequirement {
    /// `clean`: nothing differs from the commit.
    Clean,
    /// `pushed`: the upstream has the commit.
    Pushed,
    /// `branch:GLOB`
    Branch(String),
}

/// `lock`.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Builds with the same name run one after the other.
    pub name: Template,
    /// How long to wait for it. `None`: as long as it takes.
    pub wait: Option<Duration>,
}

/// `plugins.NAME`.
#[derive(Clone, Debug)]
pub struct PluginBlock {
    /// Where the block's name stands.
    pub span: Span,
    /// The plugin's file, relative to the workspace.
    pub path: Option<Spanned<String>>,
    /// The file's SHA-256 in lower-case hex, which the file must have.
    pub sha256: Option<Spanned<String>>,
    /// What the team grants.
    pub allow: Allow,
    /// How much it may use.
    pub limits: Limits,
}

/// What an image grants a plugin: the file `NAME.json` beside `NAME.wasm`.
#[derive(Clone, Debug)]
pub struct GrantsFile {
    /// The SHA-256 of the plugin that it is for, in lower-case hex.
    pub sha256: Option<Spanned<String>>,
    /// What it grants.
    pub allow: Allow,
    /// The most that it may use.
    pub limits: Limits,
    /// Nothing else grants the plugin anything.
    pub locked: bool,
    /// The whole file.
    pub json: Value,
}

/// What a plugin may touch. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Origins: `scheme://host[:port]`, the host may start with `*.`.
    pub http: Vec<Spanned<String>>,
    /// Addresses: `host:port`, the host may start with `*.`.
    pub tcp: Vec<Spanned<String>>,
    /// Names of environment variables; one `*` at the end stands for any rest.
    pub env: Vec<Spanned<String>>,
    /// Programs: names that are found in `PATH`, or absolute paths.
    pub exec: Vec<Spanned<String>>,
    /// Names of the pipeline's secrets; one `*` at the end stands for any rest.
    pub secrets: Vec<Spanned<String>>,
    /// Directories.
    pub fs: Vec<FsGrant>,
}

/// How much a plugin may use. `None`: what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of each instance.
    pub memory: Option<Spanned<u64>>,
    /// How long one call may take.
    pub call_timeout: Option<Spanned<Duration>>,
    /// How many connections may be open at the same time.
    pub connections: Option<Spanned<u32>>,
    /// Bytes of the body of a request, and of an answer.
    pub http_body: Option<Spanned<u64>>,
}

/// One granted directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsGrant {
    /// Absolute, or relative to the workspace (`.` is the workspace).
    pub path: Spanned<String>,
    /// Whether the plugin may change what is in it.
    pub writable: bool,
}

/// A plugin of the whole build: `history`, or one of `observers`.
#[derive(Clone, Debug)]
pub struct PluginUse {
    /// The plugin's name.
    pub uses: Spanned<String>,
    /// Its config.
    pub with: Json,
}

/// JSON that belongs to a plugin, with the place of each of its values.
#[derive(Clone, Debug)]
pub struct Json {
    /// The value; an empty object when the file has none. Where an expression stands it is the text with it.
    pub value: Value,
    /// The strings that have expressions in them, by JSON Pointer.
    pub templates: BTreeMap<String, Template>,
    /// Where each value stands, by JSON Pointer (RFC 6901); `""` is the whole.
    pub spans: BTreeMap<String, Span>,
    /// Where the key of each value stands that has one, by JSON Pointer, too.
    pub keys: BTreeMap<String, Span>,
}

impl Json {
    /// The place of the key whose value is at `pointer`, or of the nearest value around it.
    pub fn key_span(&self, pointer: &str) -> Span {
        self.keys.get(pointer).cloned().unwrap_or_else(|| self.span(pointer))
    }

    /// The place of the value at `pointer`, or of the nearest one around it.
    pub fn span(&self, pointer: &str) -> Span {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                return span.clone();
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => return 0..0,
            }
        }
    }
}

/// One unit of work.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique within the pipeline. A step of a used file begins with the using step's name and `/`; one of a
    /// matrix ends with its values: `build (amd64)`.
    pub name: Spanned<String>,
    /// Which use of which file it comes from, in [`Pipeline::scopes`].
    pub scope: usize,
    /// What it does.
    pub action: Action,
    /// The steps that must be decided first, in [`Pipeline::steps`]; rising, each before this one.
    pub needs: Vec<usize>,
    /// All must hold for the step to run. None: only what [`Condition::default`] says.
    pub conditions: Vec<Condition>,
    /// Its combination of the matrix.
    pub matrix: BTreeMap<String, Value>,
    /// Added to the pipeline's `env`, in the file's order.
    pub env: Vec<(String, Template)>,
    /// The secrets that it gets, by their names.
    pub secrets: Vec<Spanned<String>>,
    /// Relative to the workspace, or absolute; the file's default when the step says nothing.
    pub workdir: Option<Template>,
    /// How long an attempt may take; the file's default when the step says nothing.
    pub timeout: Option<Duration>,
    /// How often it is tried.
    pub retry: Retry,
    /// The build goes on, and may succeed, when this step does not.
    pub continue_on_error: bool,
    /// The files that it makes, as globs relative to the workspace.
    pub outputs: Vec<Template>,
    /// The test reports that it writes, as globs relative to the workspace.
    pub reports: Reports,
    /// The steps that its expressions read: the name as it is written there, and where those steps stand in
    /// [`Pipeline::steps`]: several for one with a matrix.
    pub reads: BTreeMap<String, Vec<usize>>,
}

/// An `if`, with what it is about.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// `None`: `success()`. One that asks for no status means `success() && (…)`.
    pub expression: Option<Spanned<Expression>>,
    /// The steps whose ends `success()` and `failure()` are about, as a range of [`Pipeline::steps`], where
    /// those are not all that the step needs, directly or through others.
    pub within: Option<Range<usize>>,
    /// The scope that its names belong to, in [`Pipeline::scopes`].
    pub scope: usize,
    /// As [`Step::matrix`], for this expression.
    pub matrix: BTreeMap<String, Value>,
    /// As [`Step::reads`], for this expression.
    pub reads: BTreeMap<String, Vec<usize>>,
}

/// `retry`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How many tries there are at most, the first included.
    pub attempts: u32,
    /// How long to wait before the second.
    pub delay: Duration,
    /// What each further delay is multiplied with.
    pub backoff: f64,
    /// The ends after which it is tried again.
    pub on: Vec<Outcome>,
}

impl Default for Retry {
    /// Once.
    fn default() -> Self {
        Retry {
            attempts: 1,
            delay: Duration::ZERO,
            backoff: 1.0,
            on: vec![Outcome::Failure, Outcome::Timeout, Outcome::Error],
        }
    }
}

/// `reports`.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// Files in `JUnit`'s XML.
    pub junit: Vec<Template>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Runs a process.
    Run(Spanned<Command>),
    /// Hands over to a step type.
    Uses {
        /// The plugin's name.
        plugin: Spanned<String>,
        /// Its config.
        with: Json,
    },
}

/// `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A script, and the shell that it is given to as the last argument.
    Shell {
        /// The program and its arguments. Never empty.
        shell: Vec<String>,
        /// The script.
        script: String,
    },
    /// A program and its arguments, executed as they are. Never empty.
    Exec(Vec<String>),
}
