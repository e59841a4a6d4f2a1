//! Prints what is known of where it runs, as one JSON document: `facts [DIRECTORY]`.
//!
//! The tests of the identity (`tests/identity.rs`) run it in containers.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use dcd::facts::Facts;
use dcd::{docker, git, host};

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let engine = runtime.block_on(docker::collect());
    let for_docker = start.elapsed();
    let start = Instant::now();
    let (git, email) = git::collect_with_email(&directory);
    let for_git = start.elapsed();
    let facts = Facts {
        git,
        docker: engine.docker,
        container: engine.container,
        image: engine.image,
        user: host::user(email),
        host: host::host(),
        dcd_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Facts::default()
    };
    let mut document = serde_json::to_value(&facts)?;
    document["microseconds"] = serde_json::json!({
        "docker": for_docker.as_micros() as f64,
        "git": for_git.as_micros() as f64,
    });
    println!("{document}");
    Ok(())
}
