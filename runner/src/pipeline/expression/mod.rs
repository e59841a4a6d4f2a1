//! Expressions: CEL in `if`, and within `${{ }}` in other strings.
//!
//! [`Expression::parse`] and [`Template::parse`] find everything that can be known to be wrong before anything runs:
//! `syntax` turns text into CEL's tree (the `cel` crate parses), `check` and `calls` walk the tree for names
//! and types, which `shape` and `types` know. `evaluate` then gives the tree to the `cel` crate, after `cost` has bounded the work.

mod calls;
mod check;
mod cost;
mod evaluate;
mod shape;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use serde_json::Value;

use super::Param;
pub use template::Template;

/// What expressions can read when they are evaluated.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// The value of each root name: `params`, `env`, `steps`, `build`, `git`, `image`, `matrix`. `steps` holds
    /// what the place reads: `{ "NAME": { "outcome", "conclusion", "outputs", "attempt" } }`. A value that is not
    /// known is null.
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

/// Why an expression has no value. It names what was read, never the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    /// What happened, with the expression's text.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// A name that expressions start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// `params.NAME`
    Params,
    /// `env.NAME`
    Env,
    /// `steps.NAME.FIELD`
    Steps,
    /// `build.FIELD`
    Build,
    /// `git.FIELD`
    Git,
    /// `image.FIELD`
    Image,
    /// `matrix.KEY`
    Matrix,
}

impl Root {
    /// All that there are.
    pub const ALL: [Root; 7] =
        [Root::Params, Root::Env, Root::Steps, Root::Build, Root::Git, Root::Image, Root::Matrix];

    /// As expressions spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Root::Params => "params",
            Root::Env => "env",
            Root::Steps => "steps",
            Root::Build => "build",
            Root::Git => "git",
            Root::Image => "image",
            Root::Matrix => "matrix",
        }
    }
}

/// What the place of an expression can say of a step's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepName {
    /// It is decided before the expression is read.
    Known,
    /// There is such a step, but nothing makes it be decided first.
    NotNeeded,
    /// It is the name of a step with a matrix, which is several steps. The text is the name of one of them.
    ManyCombinations(String),
    /// There is none. The text is a name that is near.
    Unknown(Option<String>),
}

/// The names that an expression may use at its place.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The params that the file declares.
    pub params: &'a [Param],
    /// The place's combination of the matrix; empty where there is none.
    pub matrix: &'a BTreeMap<String, Value>,
    /// Looks a step up.
    pub steps: &'a dyn Fn(&str) -> StepName,
    /// What has values at the place.
    pub roots: &'a [Root],
    /// The place, as it stands after "in": `lock`.
    pub place: &'a str,
}

/// A step that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRead {
    /// The name as it is written.
    pub name: String,
    /// Where it stands, in bytes of the string.
    pub range: Range<usize>,
}

/// A CEL expression that is true or false.
#[derive(Clone, Debug)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

/// One parsed and checked expression.
#[derive(Debug)]
struct Compiled {
    source: String,
    tree: cel::IdedExpr,
    reads: Reads,
}

/// What an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reads {
    /// One of the functions that ask how it went.
    status: bool,
    steps: Vec<StepRead>,
    /// For each root the fields that it reads, or `None` where that is known only when it runs.
    roots: BTreeMap<Root, Option<BTreeSet<String>>>,
    /// Params of the type `number`, whose integers count as numbers with a fraction.
    numbers: BTreeSet<String>,
}

impl Expression {
    /// Parses and checks the whole of `text`, which must be true or false.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, Vec<ExpressionError>> {
        // People who know other tools write `${{ … }}` here, too; it means the same.
        let inner = syntax::without_braces(text);
        let compiled = Compiled::parse(text, inner, names, check::Kind::Condition)?;
        Ok(Expression { compiled: Arc::new(compiled) })
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// Whether it uses `success()`, `failure()`, `always()` or `cancelled()`. One that uses none of them means
    /// `success() && (…)`; saying so is up to the caller.
    pub fn asks_status(&self) -> bool {
        self.compiled.reads.status
    }

    /// The steps that it reads, in the order of the text.
    pub fn steps(&self) -> &[StepRead] {
        &self.compiled.reads.steps
    }

    /// What it reads.
    pub fn roots(&self) -> impl Iterator<Item = Root> {
        self.compiled.reads.roots.keys().copied()
    }

    /// Whether it is true.
    pub fn holds(&self, variables: &Variables) -> Result<bool, EvaluationError> {
        evaluate::holds(&self.compiled, variables)
    }
}

impl Compiled {
    /// Parses what stands at `range` of `text`.
    fn parse(
        text: &str,
        range: Range<usize>,
        names: &Names<'_>,
        kind: check::Kind,
    ) -> Result<Self, Vec<ExpressionError>> {
        let start = range.start;
        let source = &text[range];
        let result = syntax::parse(source)
            .map_err(|error| vec![error])
            .and_then(|parsed| check::check(&parsed, names, kind).map(|reads| (parsed, reads)));
        match result {
            Ok((parsed, mut reads)) => {
                for read in &mut reads.steps {
                    read.range = read.range.start + start..read.range.end + start;
                }
                Ok(Compiled { source: source.trim().to_owned(), tree: parsed.tree, reads })
            }
            Err(mut errors) => {
                for error in &mut errors {
                    error.range = error.range.start + start..error.range.end + start;
                }
                Err(errors)
            }
        }
    }
}
