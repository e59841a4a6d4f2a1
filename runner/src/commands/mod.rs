//! One file per command: each wires adapters to the engine and has no logic of its own.

mod builds;
mod collect;
mod history;
mod load;
mod output;
mod plugin;
mod replicate;
mod reports;
mod run;
mod screen;
mod steps;
mod validate;

use crate::{
    cli::Command,
    error::{CommandError, Exit},
};

/// Does what was typed.
pub(crate) fn execute(command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::History(command) => history::history(command),
        Command::Plugin(command) => plugin::plugin(command),
    }
}
