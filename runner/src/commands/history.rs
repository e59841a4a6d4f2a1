//! `dcd history`

use std::io::Write;

use serde_json::{Value, json};

use crate::{
    build::{Build, Step},
    cli::{HistoryCommand, ListArgs, LogsArgs, ShowArgs, SourceArgs},
    commands::{
        load,
        output::{self, print, print_json},
    },
    error::{CommandError, Exit},
    event::Body,
    facts::Fact,
    journal::{Lookup, Reader, Store, StoreError},
    report::{self, Style},
    text,
};

pub(super) fn history(command: HistoryCommand) -> Result<Exit, CommandError> {
    match command {
        HistoryCommand::List(args) => list(&args),
        HistoryCommand::Show(args) => show(&args),
        HistoryCommand::Logs(args) => logs(&args),
    }
}
fn list(_: &ListArgs) -> Result<Exit, CommandError> {
    Ok(Exit::Success)
}
fn show(_: &ShowArgs) -> Result<Exit, CommandError> {
    Ok(Exit::Success)
}
fn logs(_: &LogsArgs) -> Result<Exit, CommandError> {
    Ok(Exit::Success)
}
