//! The whole way through, in containers: the stock image, a team's own image made from it, pushed to a
//! registry and run with the command line that users are told, against a real engine.
//!
//! `scripts/test` makes what the tests need and says in the environment where it is (`DCD_E2E…`). Without that
//! the tests say so and pass, except when `CI=true`, where nothing is skipped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod ending;
mod engine;
mod http;
mod image;
mod installed;
mod modes;
mod owners;
mod seed;
mod shared_history;
mod team;
mod workspace;
mod wrapper;
