//! History backends with the servers that teams use, as a program: `dcd plugin test`, and builds of two machines that share
//! a backend.
//!
//! `scripts/test` starts the servers (`scripts/servers/*`) and says in the environment where they are. For one of them:
//!
//! ```sh
//! eval "$(scripts/servers/postgres)"; cargo nextest run -p dcd-runner -E 'binary(backends) & test(/^postgres/)'
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod dynamodb;
mod harness;
mod history_dir;
mod postgres;
mod s3;
// The other tests' workspace and words; not all of them are needed here.
#[allow(dead_code, unused_imports)]
#[path = "../it/support/mod.rs"]
mod support;
