//! `dcd history`

mod archive;
mod check;
mod diff;
mod export;
mod follow;
mod import;
mod last_lines;
mod list;
mod logs;
mod prune;
mod records;
mod selection;
mod show;
mod stats;
mod verify;

use crate::{
    cli::HistoryCommand,
    commands::sync,
    error::{CommandError, Exit},
};

pub(super) fn history(command: HistoryCommand) -> Result<Exit, CommandError> {
    match command {
        HistoryCommand::List(args) => list::list(&args),
        HistoryCommand::Show(args) => show::show(&args),
        HistoryCommand::Logs(args) => logs::logs(&args),
        HistoryCommand::Diff(args) => diff::diff(&args),
        HistoryCommand::Stats(args) => stats::stats(&args),
        HistoryCommand::Prune(args) => prune::prune(&args),
        HistoryCommand::Export(args) => export::export(&args),
        HistoryCommand::Import(args) => import::import(&args),
        HistoryCommand::Verify(args) => verify::verify(&args),
        HistoryCommand::Sync(args) => sync::sync(&args),
    }
}
