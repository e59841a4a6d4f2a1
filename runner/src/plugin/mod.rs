//! The component host: finding plugins, granting them what the team allows, and calling them.
//!
//! [`locate`] finds files and reads what they say of themselves, without running anything; [`Host`] compiles
//! and links; a [`step::StepPlugin`] or a [`backend::Backend`] is a plugin ready to be called. Guests run on a
//! runtime of their own: a busy one delays neither the run loop nor its signals. A pipeline that uses no plugin
//! makes none of this.

pub mod backend;
mod bindings;
mod call;
mod client;
mod compiler;
pub mod conformance;
mod convert;
mod describe;
mod engine;
mod error;
mod given;
mod grants;
pub mod grants_file;
mod guest;
mod host;
pub mod install;
mod linker;
pub mod locate;
mod manifest;
pub mod observer;
mod programs;
mod schema;
mod sidecar;
pub mod step;
mod usage;
mod warden;

pub use compiler::{NATIVE, target};
pub use describe::config_schema;
pub use engine::{Hint, Host};
pub use error::PluginError;
pub use given::{Answers, Secrets, Workshop};
pub use grants::Grants;
pub(crate) use manifest::{API_VERSION, add as add_manifest};
pub use manifest::{Ask, Kind, Manifest};
pub use sidecar::command as install_command;
pub use usage::Usage;
