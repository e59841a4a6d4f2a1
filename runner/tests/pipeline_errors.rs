//! Each `golden/pipeline/NAME.json` is a bad pipeline file; `NAME.stderr` beside it is what people are told. A case with
//! several files is a directory `NAME` with a `dcd.json` and those that it names.
//!
//! `DCD_BLESS=1 cargo test --test pipeline_errors` writes what is told now; read it before you commit it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use dcd::pipeline::{self, Wrong};

const VERSION: &str = concat!("(", env!("CARGO_PKG_VERSION"), ")");

/// The cases: each a file, or a directory.
fn cases() -> Vec<PathBuf> {
    golden_files(|path| path.is_dir() || path.extension().is_some_and(|found| found == "json"))
}

fn golden_files(wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pipeline");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| wanted(path)).collect();
    files.sort();
    files
}

fn wrong(case: &Path) -> Wrong {
    let directory = case.is_dir().then_some(case);
    let file = directory.map_or(case.to_owned(), |directory| directory.join("dcd.json"));
    let text = fs::read_to_string(file).unwrap();
    let mut load = |path: &str| {
        let text = directory.and_then(|directory| fs::read_to_string(directory.join(path)).ok());
        text.ok_or_else(|| "there is no such file".to_owned())
    };
    match pipeline::parse(&text, "dcd.json", &mut load) {
        Ok(_) => panic!("{} has no error", case.display()),
        Err(wrong) => wrong,
    }
}

fn told(case: &Path) -> String {
    let wrong = wrong(case);
    assert!(!wrong.diagnostics.is_empty(), "{} is refused without a reason", case.display());
    pipeline::render(&wrong.diagnostics, &wrong.sources, false, 100).replace(VERSION, "(VERSION)")
}

#[test]
fn what_people_are_told() {
    let bless = std::env::var_os("DCD_BLESS").is_some();
    let mut different = Vec::new();
    let files = cases();
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
    for path in golden_files(|path| path.extension().is_some_and(|found| found == "stderr")) {
        let case = path.with_extension("json").exists() || path.with_extension("").is_dir();
        assert!(case, "{} is left over", path.display());
    }
}

#[test]
fn pictures_keep_to_the_width() {
    for path in cases() {
        let wrong = wrong(&path);
        for (color, width) in [(false, 100), (false, 60), (true, 80), (true, 1)] {
            let shown = pipeline::render(&wrong.diagnostics, &wrong.sources, color, width);
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
