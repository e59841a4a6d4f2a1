//! One file per command: each wires adapters to the engine and has no logic of its own.

mod collect;
mod history;
mod load;
mod plugin;
mod run;
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

/// Writes a document to stdout. That nobody reads it is no failure.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a JSON document to stdout.
fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}
