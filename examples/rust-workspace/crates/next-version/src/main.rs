//! `git log --format=%s v1.4.2.. | next-version 1.4.2` prints the version that these commits make.

use std::{
    io::{self, BufRead},
    process::ExitCode,
};

use semver::{Change, Version};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(current), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: git log --format=%s LAST.. | next-version LAST");
        return ExitCode::from(2);
    };
    match next(&current, io::stdin().lock()) {
        Ok(version) => {
            println!("{version}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("next-version: {error}");
            ExitCode::FAILURE
        }
    }
}

fn next(current: &str, subjects: impl BufRead) -> Result<Version, Box<dyn std::error::Error>> {
    let current: Version = current.parse()?;
    let subjects = subjects.lines().collect::<Result<Vec<_>, _>>()?;
    let largest = subjects.iter().filter_map(|subject| Change::of(subject)).max();
    Ok(largest.map_or(current, |change| current.after(change)))
}
