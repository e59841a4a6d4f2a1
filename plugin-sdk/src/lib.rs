//! Write plugins for `DistributedCD`: kinds of steps, and places that keep builds.
//!
//! A plugin is a WebAssembly component. It runs in a sandbox and touches what it was granted, nothing else.
//! This is all of one:
//!
//! ```
//! use dcd_plugin_sdk::{StepContext, StepError, StepOutput, StepType, http};
//!
//! /// Tell a chat room.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Message {
//!     /// The room's webhook.
//!     url: String,
//!     /// What to say.
//!     text: String,
//! }
//!
//! struct Chat;
//!
//! impl StepType for Chat {
//!     const SUMMARY: &'static str = "Tell a chat room";
//!     type Config = Message;
//!
//!     fn run(config: Message, cx: StepContext) -> Result<StepOutput, StepError> {
//!         let text = format!("{} {}: {}", cx.component, cx.build_id, config.text);
//!         let answer = http::Request::post(config.url).json(&text)?.send()?;
//!         println!("the room answered {}", answer.status());
//!         if answer.status() != 200 {
//!             return Err(StepError::failed("the room did not take the message"));
//!         }
//!         Ok(StepOutput::new().output("sent", text).summary("told the room"))
//!     }
//! }
//!
//! dcd_plugin_sdk::export_step!(Chat, asks: { http: "to reach the room" });
//! # dcd_plugin_sdk::mock::on_http(|_| Ok(http::Response::new(200)));
//! # let config = Message { url: "https://chat.example/room".into(), text: "hi".into() };
//! # assert!(Chat::run(config, StepContext::default()).is_ok());
//! ```
//!
//! with this `Cargo.toml` (`dcd plugin new step chat` writes one, with tests and the rest of a project); the
//! package's name is the plugin's:
//!
//! ```toml
//! [package]
//! name = "chat"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! dcd-plugin-sdk = "0.1"
//! schemars = "1"
//! serde = { version = "1", features = ["derive"] }
//!
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! strip = true
//! panic = "abort"
//! ```
//!
//! Test it, build it, and see what came out:
//!
//! ```sh
//! cargo test
//! rustup target add wasm32-wasip2
//! cargo build --release --target wasm32-wasip2
//! dcd plugin inspect target/wasm32-wasip2/release/chat.wasm
//! ```
//!
//! `dcd plugin test` runs the component itself, through the real host: a step type with cases from files, a
//! history backend against all that is expected of one.
//!
//! A pipeline finds it in `/dcd-plugins`, in a directory of `DCD_PLUGIN_PATH`, or by its path, and grants it
//! what it needs:
//!
//! ```json
//! {
//!   "plugins": {
//!     "chat": {
//!       "path": "target/wasm32-wasip2/release/chat.wasm",
//!       "allow": { "http": ["https://chat.example"] }
//!     }
//!   },
//!   "steps": [{ "name": "tell", "uses": "chat", "with": { "url": "https://chat.example/room", "text": "released" } }]
//! }
//! ```
//!
//! # What there is
//!
//! - [`StepType`], [`HistoryBackend`] and [`BuildObserver`], the three kinds of plugins, and the macros
//!   [`export_step!`], [`export_history!`] and [`export_observer!`]. Types and documentation of the configuration become the JSON Schema that the runner
//!   checks pipelines against.
//! - [`Error`], which the errors of [`std::io`], [`serde_json`] and [`http`] turn into by `?`, and [`Help`],
//!   which adds what the user should try. [`StepError`] tells work that said no from a plugin that could not do
//!   its job.
//! - [`http`], [`command`](mod@command), [`secrets`] and [`log`](mod@log): what the runner does for a plugin.
//!   Files, the environment, clocks and randomness are those of the standard library.
//! - [`mock`](mod@mock), which stands in for the runner in `cargo test`: everything here also compiles for the
//!   machine at hand.
//!
//! # What a plugin may not do
//!
//! There are no threads and no processes (but see [`StepContext::command`]). A call that runs over the
//! runner's time limit, or over its memory limit, is ended, and so is one that panics; its message reaches
//! the user.

#[doc(hidden)]
pub mod bindings;
pub mod command;
mod config;
mod error;
pub mod history;
mod host;
pub mod http;
pub mod log;
mod manifest;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
pub mod observer;
mod panic;
pub mod secrets;
mod slot;
mod step;
#[doc(hidden)]
pub mod types;

pub use config::{Config, parse, schema};
pub use error::Help;
pub use history::HistoryBackend;
pub use manifest::API;
pub use observer::BuildObserver;
pub use step::{Input, StepContext, StepError, StepOutput, StepType};
pub use types::{Diagnostic, Error, Fault};

pub use {schemars, serde, serde_json};

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use crate::config::Package;
    pub use crate::history::HistoryAdapter;
    pub use crate::manifest::{Manifest, Piece, join, length};
    pub use crate::observer::ObserverAdapter;
    pub use crate::slot::Slot;
    pub use crate::step::StepAdapter;
}
