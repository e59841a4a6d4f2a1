//! `DistributedCD`'s runner.

pub mod analysis;
pub mod brief;
pub mod build;
pub mod chain;
pub mod cli;
mod commands;
pub mod docker;
pub mod engine;
pub mod error;
pub mod event;
pub mod exec;
pub mod facts;
pub mod git;
pub mod history;
pub mod host;
pub mod journal;
pub mod lock;
pub mod output_file;
pub mod owner;
pub mod pipeline;
pub mod plugin;
pub mod products;
pub mod redact;
pub mod report;
pub mod signal;
pub mod text;
pub mod trace;
pub mod zone;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

/// Does what the command line says. The first argument is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match cli::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for with exit code 0, a wrong command line has 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    signal::end_first_process();
    let exit = commands::execute(cli.command).unwrap_or_else(|error| error.print());
    ExitCode::from(exit.code())
}
