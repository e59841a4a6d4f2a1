//! What a pipeline is: reading the file, checking it, and the model that comes out. No IO, no async.
//!
//! [`parse`] reads each file once: its text goes through `syntax` (text to tree, one error at most), then `file` walks
//! the tree with `reader`'s helpers (`step`, `action`, `matrix`, `policy`, `declare`, `plugins`, `grants`, `limits`, `json`, `values`), which
//! collect every error as a [`Diagnostic`], to a `draft`. `order` sorts a file's steps, and `place` puts the steps of all
//! files where they are used. [`render`] shows what is wrong; [`schema`] describes the file for editors, from the
//! tables that the reader goes by.

mod action;
mod cases;
mod declare;
mod diagnostic;
mod draft;
pub mod duration;
mod embed;
mod excerpt;
pub mod expression;
mod file;
mod grants;
mod grants_file;
mod json;
mod limits;
mod matrix;
mod model;
mod names;
mod order;
mod params;
mod parse;
mod place;
mod plugins;
mod policy;
mod reader;
mod render;
mod schema;
mod select;
pub mod size;
mod step;
mod syntax;
mod values;

pub use cases::{
    BackendSetup, Case, End, Expect, FakeAnswer, FakeCommand, WORKSPACE, Wanted, WantedRequest,
    parse_backend_setup, parse_cases,
};
pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::{did_you_mean, printable};
pub use grants_file::parse_grants;
pub use model::{
    Action, Allow, Command, Condition, FsGrant, GitRequirement, GrantsFile, Json, Limits, Lock, Param,
    ParamType, Pipeline, PluginBlock, PluginUse, Reports, Require, Retry, Scope, Secret, SecretSource,
    Source, Span, Spanned, Step, TemplateValue,
};
pub use params::ParamError;
pub use parse::{Load, Wrong, parse};
pub use render::render;
pub use schema::schema;
pub use select::{Selection, SelectionError};
pub use values::refuse_glob;
