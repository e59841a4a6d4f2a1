//! What goes wrong with a plugin, in words for who uses it.

use crate::{event::Problem, pipeline::Span};

/// A plugin could not be found, loaded or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// What happened, and where.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// The place in the pipeline file that it is about.
    pub span: Option<Span>,
}

impl PluginError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        PluginError { message: message.into(), help: None, span: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }
}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        Problem { message: error.message, help: error.help }
    }
}
