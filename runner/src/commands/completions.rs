//! `dcd completions`

use clap::CommandFactory;

use crate::{
    cli::{Cli, CompletionsArgs},
    commands::output::print,
    error::{CommandError, Exit},
};

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dcd", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
