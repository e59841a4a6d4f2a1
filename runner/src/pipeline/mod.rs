//! What a pipeline is: reading the file, checking it, and the model that comes out. No IO, no async.

mod model;

pub use model::{
    Action, Allow, Command, FsGrant, HistoryBlock, Json, Pipeline, PluginBlock, Span, Spanned, Step,
};
