//! Tests of the built binary, each in a workspace of its own.
//!
//! Expected texts stand beside the tests (insta's inline snapshots): `INSTA_UPDATE=always cargo nextest run
//! --workspace -E 'binary(it)'` and `cargo insta review` write them anew. Read what they say before you commit it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod bad_input;
mod bad_plugins;
mod commands;
mod compat;
mod conditions;
mod doctor;
mod example_plugins;
mod examples;
mod files;
mod grants;
mod graph;
mod help;
mod history_dir;
mod history_fails;
mod history_keep;
mod history_read;
mod http_plugin;
mod init;
mod install;
mod journal;
mod locks;
mod misdeeds;
mod modes;
mod observers;
mod output;
mod plugin_limits;
mod plugin_network;
mod plugin_new;
mod plugin_programs;
mod plugin_secrets;
mod plugin_test;
mod plugin_used;
mod selecting;
mod shell;
mod signals;
mod step_types;
mod steps;
mod support;
mod sync;
mod values;
