//! One file per command: each wires adapters to the engine and has no logic of its own.

mod attempt;
mod builds;
mod collect;
mod completions;
mod course;
mod doctor;
mod history;
mod init;
mod load;
mod lock;
mod locking;
mod observers;
mod output;
mod plan;
mod plugin;
mod prepare;
mod replicate;
mod reports;
mod requirements;
mod results;
mod retry;
mod run;
mod schema;
mod screen;
mod secrets;
mod shell;
mod steps;
mod sync;
mod validate;
mod values;

use crate::{
    cli::Command,
    error::{CommandError, Exit},
};

/// Does what was typed.
pub(crate) fn execute(command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Retry(args) => retry::retry(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Shell(args) => shell::shell(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::Schema => schema::schema(),
        Command::Init(args) => init::init(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::History(command) => history::history(command),
        Command::Lock(command) => lock::lock(command),
        Command::Plugin(command) => plugin::plugin(command),
    }
}
