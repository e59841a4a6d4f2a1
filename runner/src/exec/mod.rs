//! A step as a process: [`command`] says what to start, [`child`] starts it, [`follow`] goes with it to its [`end`],
//! [`launch`] is for the programs of plugins, [`output`] cuts what it prints, [`family`] knows what descends from it, [`reaper`] collects the dead,
//! [`spawn`] starts one more, which is a [`fledgling`] first.

mod child;
mod command;
mod end;
mod family;
mod fledgling;
mod follow;
mod launch;
mod output;
pub mod promptness;
mod reaper;
pub mod shell;
mod spawn;
#[cfg(test)]
mod tests;

pub use child::{Ended, Processes, run};
pub use command::{Program, Surroundings};
