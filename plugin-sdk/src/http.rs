//! A blocking HTTP client. Each origin that it reaches needs the grant `http`.
//!
//! Nothing is blocked but the plugin: the runner suspends it. Redirects are not followed, and there
//! are no cookies. A request is sent once, unless [`Client::attempts`] says otherwise.
//!
//! ```
//! use dcd_plugin_sdk::http;
//! # dcd_plugin_sdk::mock::on_http(|_| Ok(http::Response::new(201).body(r#"{"id": 7}"#)));
//!
//! #[derive(serde::Deserialize)]
//! struct Created {
//!     id: u64,
//! }
//!
//! let client = http::Client::new().timeout(std::time::Duration::from_secs(5));
//! let request = http::Request::post("https://example.com/things").header("accept", "application/json");
//! let created: Created = client.send(request.json(&"a thing")?)?.error_for_status()?.json()?;
//! assert_eq!(created.id, 7);
//! # Ok::<(), dcd_plugin_sdk::Error>(())
//! ```

mod client;
mod error;
mod request;
mod response;
mod url;
#[cfg(target_arch = "wasm32")]
pub(crate) mod wasi;

pub use client::Client;
pub use error::Error;
pub use request::Request;
pub use response::{Response, reason};
pub use url::Url;
