//! What is wrong with a configuration.

use std::time::Duration;

use dcd_plugin_sdk::Diagnostic;

use crate::duration;

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Diagnostic>);

impl Findings {
    /// Something is wrong at `pointer`, a JSON Pointer; [`field`] makes one that ends with any key.
    pub fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Diagnostic::new(pointer, message));
    }

    /// The duration at `pointer`, or the default.
    pub fn duration(&mut self, pointer: &str, text: Option<&str>, default: Duration) -> Duration {
        text.map_or(Ok(default), duration::parse).unwrap_or_else(|why| {
            self.add(pointer, why);
            default
        })
    }

    /// [`Findings::duration`], of something that takes time.
    pub fn time(&mut self, pointer: &str, text: Option<&str>, default: Duration) -> Duration {
        let time = self.duration(pointer, text, default);
        if time.is_zero() {
            self.add(pointer, "it needs more time than none");
        }
        time
    }

    /// The value, if nothing is wrong.
    pub fn none_or<T>(self, value: T) -> Result<T, Vec<Diagnostic>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// The JSON Pointer to the key `name` below `pointer`.
pub fn field(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
