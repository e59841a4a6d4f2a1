//! `dcd shell`

use crate::{
    cli::ShellArgs,
    error::{CommandError, Exit},
};

pub(super) fn shell(_args: &ShellArgs) -> Result<Exit, CommandError> {
    Ok(Exit::Success)
}
