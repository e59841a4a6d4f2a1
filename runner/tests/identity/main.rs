//! The facts of docker, container and image, against a real engine: this test program starts itself in
//! containers of all kinds, asks there, and compares with what `docker inspect` says.
//!
//! Without an engine the tests say so and pass, except when `CI=true`, where there must be one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod containers;
mod harness;
mod images;
mod sockets;

/// What runs in the containers. In an ordinary run of the tests there is nothing for it to do.
#[test]
fn inside() {
    if std::env::var_os(harness::INSIDE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = std::time::Instant::now();
    let facts = runtime.block_on(dcd::docker::collect());
    let microseconds = u64::try_from(start.elapsed().as_micros()).unwrap();
    let leftovers: Vec<_> = ["/", "/tmp", "/var/tmp"]
        .into_iter()
        .filter_map(|place| std::fs::read_dir(place).ok())
        .flatten()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".dcd-identity"))
        .collect();
    let report = serde_json::json!({
        "docker": facts.docker,
        "container": facts.container,
        "image": facts.image,
        "leftovers": leftovers,
        "microseconds": microseconds,
    });
    println!("{}{report}", harness::MARK);
}
