//! The runner's modules that read what others wrote. Dependencies point inwards, so they compile without the rest.

#[path = "../runner/src/build.rs"]
pub mod build;
#[path = "../runner/src/engine/mod.rs"]
pub mod engine;
#[path = "../runner/src/event.rs"]
pub mod event;
#[path = "../runner/src/facts.rs"]
pub mod facts;
#[path = "../runner/src/journal/mod.rs"]
pub mod journal;
#[path = "../runner/src/output_file.rs"]
pub mod output_file;
#[path = "../runner/src/owner.rs"]
pub mod owner;
#[path = "../runner/src/pipeline/mod.rs"]
pub mod pipeline;
#[path = "../runner/src/redact/mod.rs"]
pub mod redact;
#[path = "../runner/src/text.rs"]
pub mod text;
