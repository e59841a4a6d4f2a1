//! Running a build: state decides, the dispatcher waits, adapters act, sinks tell.

mod dispatcher;
pub mod message;
pub mod ports;
mod state;

pub use dispatcher::{Dispatcher, Late, RunError};
pub use state::{BuildEnd, GRACE, LeftOut, Options, StepSpec};
