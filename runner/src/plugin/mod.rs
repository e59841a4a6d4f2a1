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
mod engine;
mod error;
mod given;
mod grants;
mod guest;
mod host;
pub mod locate;
mod manifest;
mod programs;
mod schema;
pub mod step;
mod warden;

pub use engine::Host;
pub use error::PluginError;
pub use given::{Secrets, Workshop};
pub use grants::Grants;
pub use manifest::{Ask, Kind, Manifest};
