//! The runner's diagnostic log. It is about the plugin; what a step has to say goes to stdout and stderr.
//!
//! ```
//! use dcd_plugin_sdk::log;
//!
//! log::warn("the server asked to slow down", &[("after", "3 s")]);
//! ```

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every detail.
    Trace,
    /// For whoever works on the plugin.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is off, and the plugin goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line with named values.
pub fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
    crate::host::emit(level, message, fields);
}

/// Writes a line of level [`Level::Trace`].
pub fn trace(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Trace, message, fields);
}

/// Writes a line of level [`Level::Debug`].
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Debug, message, fields);
}

/// Writes a line of level [`Level::Info`].
pub fn info(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Info, message, fields);
}

/// Writes a line of level [`Level::Warn`].
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Warn, message, fields);
}

/// Writes a line of level [`Level::Error`].
pub fn error(message: &str, fields: &[(&str, &str)]) {
    emit(Level::Error, message, fields);
}
