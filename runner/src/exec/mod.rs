//! A step as a process: [`command`] says what to start, [`child`] starts it and follows it to its end,
//! [`output`] cuts what it prints, [`family`] knows what descends from it, [`reaper`] collects the dead.

mod child;
mod command;
mod family;
mod output;
mod reaper;

pub use child::{Ended, Processes, run};
pub use command::Program;
pub use reaper::Reaper;
