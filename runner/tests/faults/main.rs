//! Fault runs: builds in several workspaces, several at a time, while runners are killed, stopped and run out of disk,
//! syncs are killed, the network fails in every way that networks do, and the server dies and comes back.
//!
//! Afterwards every event that a run has shown is in its journal and in the history backend, once, in its place, and
//! every build has the end that is true of it. The figures are printed.
//!
//! Without more it is short, for CI. `scripts/faults` runs it for longer:
//!
//! - `DCD_FAULT_BUILDS`: at least so many builds;
//! - `DCD_FAULT_SECONDS`: for at least so long;
//! - `DCD_FAULT_SEED`: what goes wrong follows from it, so the same seed makes the same plan. How the processes of a
//!   busy machine meet that plan does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

mod backend;
mod course;
mod directory;
mod disk;
mod field;
mod plan;
mod postgres;
mod proxy;
mod random;
mod recipe;
mod run;
mod table;
mod verdict;

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use backend::Backend;
use directory::Directory;
use field::Field;
use plan::Setting;
use postgres::Postgres;

#[test]
fn nothing_is_lost_with_postgres() {
    match Postgres::start() {
        Ok(backend) => run(&backend, 24, 20),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("not tried: {why}");
        }
    }
}

#[test]
fn nothing_is_lost_with_a_directory() {
    run(&Directory::new(), 16, 10);
}

fn run(backend: &dyn Backend, builds: u64, seconds: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let setting = Setting {
        seed: variable("DCD_FAULT_SEED").unwrap_or(now.as_secs()),
        builds: variable("DCD_FAULT_BUILDS").unwrap_or(builds),
        time: Duration::from_secs(variable("DCD_FAULT_SECONDS").unwrap_or(seconds)),
    };
    println!("DCD_FAULT_SEED={}", setting.seed);
    let field = Field::new(backend);
    let happened = course::run(&field, backend, setting);
    let kept = backend.read();
    let verdict = verdict::judge(&field, &happened, &kept);
    println!("{}", table::table(backend, setting, &happened, &verdict));
    if !verdict.wrong.is_empty() {
        let root = field.keep();
        println!("the workspaces are kept: {}", root.display());
    }
    assert!(verdict.wrong.is_empty(), "{:#?}", verdict.wrong);
    assert_eq!((verdict.lost, verdict.doubled, verdict.misplaced), (0, 0, 0));
    assert!(verdict.kept >= verdict.acknowledged && verdict.kept == verdict.journalled);
    let missed: Vec<_> = happened.faults.iter().filter(|(_, times)| **times == 0).collect();
    assert!(missed.is_empty(), "these faults never happened: {missed:?}");
    let in_ci = std::env::var_os("CI").is_some();
    assert!(!in_ci || happened.untried.is_empty(), "with CI set all is tried: {:?}", happened.untried);
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
