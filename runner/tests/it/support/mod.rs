//! What every test starts with: a workspace of its own, and words that do not change between runs.

mod normal;
mod project;
mod running;
mod server;
mod terminal;

pub(crate) use normal::Cleaner;
#[allow(unused_imports, reason = "`installed` is for the tests of the backends")]
pub(crate) use project::{Output, Project, installed, plugin_file};
pub(crate) use running::Running;
pub(crate) use server::{Answer, Server};
pub(crate) use terminal::screen;
