//! `dcd schema`

use crate::{
    commands::output::print_json,
    error::{CommandError, Exit},
    pipeline,
};

pub(super) fn schema() -> Result<Exit, CommandError> {
    print_json(&pipeline::schema())?;
    Ok(Exit::Success)
}
