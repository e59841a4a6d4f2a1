//! Each `golden/pipeline/NAME.json` is a bad pipeline file; `NAME.stderr` beside it is what people are told.
//!
//! `DCD_BLESS=1 cargo test --test pipeline_errors` writes what is told now; read it before you commit it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use dcd::pipeline;

const VERSION: &str = concat!("(", env!("CARGO_PKG_VERSION"), ")");

fn golden_files(extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pipeline");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn told(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let Err(errors) = pipeline::parse(&text, "dcd.json") else {
        panic!("{} has no error", path.display());
    };
    assert!(!errors.is_empty(), "{} is refused without a reason", path.display());
    pipeline::render(&errors, "dcd.json", &text, false, 100).replace(VERSION, "(VERSION)")
}

#[test]
fn what_people_are_told() {
    let bless = std::env::var_os("DCD_BLESS").is_some();
    let mut different = Vec::new();
    let files = golden_files("json");
    assert!(files.len() >= 25, "the golden files are missing");
    for path in &files {
        let (told, expected) = (told(path), path.with_extension("stderr"));
        if bless {
            fs::write(&expected, told).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&told) {
            different.push(format!("{} is missing or differs; now it is:\n{told}", expected.display()));
        }
    }
    assert!(different.is_empty(), "{}\nDCD_BLESS=1 rewrites the files", different.join("\n"));
}

#[test]
fn every_expectation_has_its_file() {
    for path in golden_files("stderr") {
        assert!(path.with_extension("json").exists(), "{} is left over", path.display());
    }
}

#[test]
fn pictures_keep_to_the_width() {
    for path in golden_files("json") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = pipeline::parse(&text, "dcd.json").unwrap_err();
        for (color, width) in [(false, 100), (false, 60), (true, 80), (true, 1)] {
            let shown = pipeline::render(&errors, "dcd.json", &text, color, width);
            let plain = without_escapes(&shown);
            for line in plain.lines().filter(|line| line.contains(['|', '│'])) {
                // Labels are never wrapped, but they are short, and they start near the left.
                assert!(line.chars().count() <= width.max(40) + 40, "{}: {line}", path.display());
            }
        }
    }
}

fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}
