//! What the fuzzers found once, and what they start from, through the same functions; `fuzz/` has the fuzzers.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{fs, path::Path};

#[path = "../../fuzz/targets.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 10, "the corpus of {target} is missing");
}

#[test]
fn pipeline() {
    replay("pipeline", targets::pipeline);
}

#[test]
fn expression() {
    replay("expression", targets::expression);
}

#[test]
fn output_file() {
    replay("output_file", targets::output_file);
}

#[test]
fn journal() {
    replay("journal", targets::journal);
}
