//! What a pipeline is: reading the file, checking it, and the model that comes out. No IO, no async.
//!
//! [`parse`] takes the text through `syntax` (text to tree, one error at most), then walks the tree with `reader`'s
//! helpers (`step`, `plugins`, `json`), which collect every error as a [`Diagnostic`]; [`render`] shows them.

mod diagnostic;
pub mod duration;
mod excerpt;
pub mod expression;
mod json;
mod model;
mod names;
mod params;
mod parse;
mod plugins;
mod reader;
mod render;
mod select;
mod step;
mod syntax;

pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::{did_you_mean, printable};
pub use model::{
    Action, Allow, Command, Condition, FsGrant, GitRequirement, HistoryBlock, Json, Lock, Param, ParamType,
    Pipeline, PluginBlock, Reports, Require, Retry, Scope, Secret, SecretSource, Source, Span, Spanned, Step,
    TemplateValue,
};
pub use parse::parse;
pub use render::render;
pub use select::{Selection, SelectionError};
