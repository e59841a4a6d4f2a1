//! `tally [FILE]`: counts the words of a file, or of standard input.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let text = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let mut out = io::stdout().lock();
    for (word, count) in tally::tally(&text) {
        writeln!(out, "{count:6} {word}")?;
    }
    Ok(())
}
