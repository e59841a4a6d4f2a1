//! A file as it was read, before its steps are put in order and into the pipeline.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    Lock, Param, PluginBlock, PluginUse, Require, Secret, Span, Spanned, Step, TemplateValue,
    expression::{Expression, Template},
    matrix::Cell,
};

/// What one file says.
#[derive(Default)]
pub(super) struct FileDraft {
    /// In [`super::Pipeline::sources`].
    pub source: usize,
    pub name: Option<String>,
    pub component: Option<String>,
    pub params: Vec<Param>,
    pub env: Vec<(String, Template)>,
    pub secrets: Vec<Secret>,
    pub timeout: Option<Duration>,
    pub require: Require,
    /// Where `require` asks for a history.
    pub history_required: Option<Span>,
    pub lock: Option<Lock>,
    pub plugins: BTreeMap<String, PluginBlock>,
    pub history: Option<PluginUse>,
    pub observers: Vec<PluginUse>,
    pub elements: Vec<Element>,
    /// Some of its elements, or of those of a file that it uses, could not be read.
    pub broken: bool,
    pub order: Order,
    /// How many steps it comes to.
    pub steps: usize,
    /// How many files deep it is, itself included.
    pub depth: usize,
}

/// The order of a file's elements, and what each of them waits for.
#[derive(Default)]
pub(super) struct Order {
    /// Each element after those it needs; as in the file, as far as that goes.
    pub elements: Vec<usize>,
    /// Which element has the step, or the steps, of a name.
    pub names: HashMap<String, usize>,
}

/// One element of `steps`.
pub(super) struct Element {
    /// `None` for an included file, whose steps have their own names.
    pub name: Option<Spanned<String>>,
    /// Where what is wrong with its order is shown.
    pub at: Span,
    /// `None`: the element above it.
    pub needs: Option<Vec<Spanned<String>>>,
    /// `if`
    pub condition: Option<If>,
    /// Its combinations; one without values when it has no matrix.
    pub cells: Vec<Cell>,
    pub body: Body,
}

impl Element {
    /// The name of one of its combinations; empty for an included file.
    pub(super) fn cell_name(&self, cell: &Cell) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("{}{}", name.value, cell.suffix))
    }
}

/// What an element comes to.
pub(super) enum Body {
    /// A step; its names, needs and conditions are yet to come.
    Step {
        step: Box<Step>,
        /// The steps that its `env`, `workdir` and `with` read.
        reads: Vec<Spanned<String>>,
    },
    /// The steps of a file.
    File(Use),
}

/// The use of a file.
pub(super) struct Use {
    /// As it is written.
    pub path: Spanned<String>,
    /// The file, once it has been read.
    pub file: Option<usize>,
    pub given: BTreeMap<String, Spanned<TemplateValue>>,
    /// Where the names of `given` stand.
    pub given_at: BTreeMap<String, Span>,
    pub env: Vec<(String, Template)>,
}

/// An `if` with the steps that it reads.
pub(super) struct If {
    pub expression: Spanned<Expression>,
    pub reads: Vec<Spanned<String>>,
}
