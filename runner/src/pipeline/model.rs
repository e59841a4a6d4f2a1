//! What a pipeline is, once it has been read and found right.

use std::{collections::BTreeMap, ops::Range, time::Duration};

/// A place in the pipeline file, in bytes.
pub type Span = Range<usize>;

/// A value with the place that it was read from, so that what is found wrong later can still be shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A whole pipeline file.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Shown to people; the file's stem when the file names none.
    pub name: String,
    /// The thing that is built. `None`: the repository's name, which is known only when the build starts.
    pub component: Option<String>,
    /// Added to every shell step's environment, in the file's order.
    pub env: Vec<(String, String)>,
    /// What is said of plugins, by plugin name.
    pub plugins: BTreeMap<String, PluginBlock>,
    /// The history backend that builds are replicated to.
    pub history: Option<HistoryBlock>,
    /// In the order in which they run. Never empty.
    pub steps: Vec<Step>,
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
}

/// What a plugin may touch. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Origins: `scheme://host[:port]`, the host may start with `*.`.
    pub http: Vec<Spanned<String>>,
    /// Names of environment variables; one `*` at the end stands for any rest.
    pub env: Vec<Spanned<String>>,
    /// Directories.
    pub fs: Vec<FsGrant>,
}

/// One granted directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsGrant {
    /// Absolute, or relative to the workspace (`.` is the workspace).
    pub path: Spanned<String>,
    /// Whether the plugin may change what is in it.
    pub writable: bool,
}

/// `history`.
#[derive(Clone, Debug)]
pub struct HistoryBlock {
    /// The plugin's name.
    pub uses: Spanned<String>,
    /// Its config.
    pub with: Json,
}

/// JSON that belongs to a plugin, with the place of each of its values.
#[derive(Clone, Debug)]
pub struct Json {
    /// The value; an empty object when the file has none.
    pub value: serde_json::Value,
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
    /// Unique within the pipeline.
    pub name: Spanned<String>,
    /// What it does.
    pub action: Action,
    /// Added to the pipeline's `env`, in the file's order.
    pub env: Vec<(String, String)>,
    /// Relative to the workspace, or absolute.
    pub workdir: Option<Spanned<String>>,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// The build goes on, and may succeed, when this step does not.
    pub continue_on_error: bool,
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
    /// A script for the shell.
    Shell(String),
    /// A program and its arguments, executed as they are. Never empty.
    Exec(Vec<String>),
}
