//! What the host does for a guest, one file per interface.

mod command;
pub(crate) mod http;
mod log;
mod run_control;
mod secrets;
pub(crate) mod sockets;
