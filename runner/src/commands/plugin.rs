//! `dcd plugin`

use crate::{
    cli::PluginCommand,
    error::{CommandError, Exit},
};

pub(super) fn plugin(command: PluginCommand) -> Result<Exit, CommandError> {
    match command {
        PluginCommand::List(_) | PluginCommand::Inspect(_) => Ok(Exit::Success),
    }
}
