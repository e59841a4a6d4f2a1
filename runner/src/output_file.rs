//! What a step writes to the file `$DCD_OUTPUT`: its outputs, which later steps can read.
//!
//! The format is GitHub's: lines `key=value`, and for values of several lines `key<<DELIMITER`, the lines, and a line
//! with the delimiter alone. A key that comes twice has its last value. Lines may end with CRLF.

use std::collections::BTreeMap;

use crate::pipeline::printable;

/// A larger file is refused, in bytes: outputs are kept with the build and travel with its history.
pub const MAX_SIZE: usize = 1 << 20;

/// Why a file of outputs cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct OutputError {
    /// Counts from 1. `None` when it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong, without its full stop.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl OutputError {
    fn new(line: impl Into<Option<usize>>, message: impl Into<String>, help: impl Into<String>) -> Self {
        OutputError { line: line.into(), message: message.into(), help: help.into() }
    }
}

/// The outputs by their keys.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, OutputError> {
    if bytes.len() > MAX_SIZE {
        return Err(OutputError::new(
            None,
            format!("it has {} bytes, and {MAX_SIZE} are allowed", bytes.len()),
            "write large values to a file of their own, and name it in `outputs`",
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_text(bytes, error.valid_up_to()))?;
    // Windows' editors and shells begin a file with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let mut outputs = BTreeMap::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (key, value) = match (line.find('='), line.find("<<")) {
            (Some(sign), heredoc) if heredoc.is_none_or(|heredoc| sign < heredoc) => {
                (&line[..sign], line[sign + 1..].to_owned())
            }
            (_, Some(sign)) => {
                let key = check_key(&line[..sign], number)?;
                (key, block(number, key, &line[sign + 2..], &mut lines)?)
            }
            (_, None) => {
                return Err(OutputError::new(
                    number,
                    "it has no `=`",
                    "write KEY=VALUE, and for a value of several lines KEY<<END, the lines, and END alone in a line",
                ));
            }
        };
        if value.contains('\0') {
            return Err(OutputError::new(
                number,
                format!(
                    "the value of `{}` holds a NUL character, which no variable can hold",
                    printable(key)
                ),
                "encode it, for example in base64",
            ));
        }
        outputs.insert(check_key(key, number)?.to_owned(), value);
    }
    Ok(outputs)
}

/// The lines up to the delimiter.
fn block<'t>(
    number: usize,
    key: &str,
    delimiter: &str,
    lines: &mut impl Iterator<Item = (usize, &'t str)>,
) -> Result<String, OutputError> {
    if delimiter.trim().is_empty() {
        return Err(OutputError::new(
            number,
            format!("`{key}<<` has no delimiter behind it"),
            format!("write {key}<<END, the lines, and END alone in a line"),
        ));
    }
    let mut value: Vec<&str> = Vec::new();
    for (_, line) in lines {
        if line == delimiter {
            return Ok(value.join("\n"));
        }
        value.push(line);
    }
    let delimiter = printable(delimiter);
    Err(OutputError::new(
        number,
        format!("the value of `{key}` does not end: no line is `{delimiter}` alone"),
        format!("write a line `{delimiter}` behind the value, with a line end before it and no spaces"),
    ))
}

fn check_key(key: &str, line: usize) -> Result<&str, OutputError> {
    let is_key = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if is_key {
        return Ok(key);
    }
    let shown = printable(key);
    let trimmed = key.trim();
    Err(if key.is_empty() {
        OutputError::new(line, "there is no key before the sign", "write KEY=VALUE")
    } else if trimmed != key && check_key(trimmed, line).is_ok() {
        OutputError::new(
            line,
            format!("`{shown}` has spaces around it"),
            format!("write {trimmed}=VALUE without spaces"),
        )
    } else {
        OutputError::new(
            line,
            format!("`{shown}` cannot be a key"),
            "a key begins with a letter or `_`, and goes on with letters, digits, `_`, `.` and `-`",
        )
    })
}

fn not_text(bytes: &[u8], valid: usize) -> OutputError {
    let line = memchr::memchr_iter(b'\n', &bytes[..valid]).count() + 1;
    let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "it is UTF-16; in PowerShell write with Out-File -Encoding utf8NoBOM -Append"
    } else {
        "encode binary values, for example with base64"
    };
    OutputError::new(line, "it is not UTF-8", help)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_and_blocks_are_read() {
        assert_eq!(parsed(""), []);
        assert_eq!(
            parsed("a=1\nb.c-d=x=y <<z \n\n_e="),
            pairs(&[("_e", ""), ("a", "1"), ("b.c-d", "x=y <<z ")])
        );
        assert_eq!(parsed("a<<END\none\n\n two=2\nEND\nb=2"), pairs(&[("a", "one\n\n two=2"), ("b", "2")]));
        assert_eq!(parsed("a<<E=1\nx\nE=1\n"), pairs(&[("a", "x")]));
        assert_eq!(parsed("a<<E\nE\n"), pairs(&[("a", "")]));
        assert_eq!(parsed("a<<E\nEE\n E\nE"), pairs(&[("a", "EE\n E")]));
    }

    #[test]
    fn the_last_value_wins_and_line_ends_of_windows_are_line_ends() {
        assert_eq!(parsed("a=1\na=2"), pairs(&[("a", "2")]));
        assert_eq!(parsed("\u{feff}a=1\r\nb<<E\r\nx\r\ny\r\nE\r\n"), pairs(&[("a", "1"), ("b", "x\ny")]));
    }

    #[test]
    fn errors_say_where_and_what_to_write() {
        let mut all = String::new();
        for text in [
            "a=1\nversion 1.2\n",
            "a = 1",
            "=1",
            "1a=2",
            "ä=2",
            "a b=2",
            "a<<\nx\n",
            "ok=1\na<<END\nx\n END\n",
            "<<E\nE\n",
            "a=\u{1b}[31m\n\u{1b}[31m=1",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            all += &format!("{text:?}\n  {error}\n  help: {}\n", error.help);
        }
        for bytes in [&b"a=1\nb=\xff\n"[..], b"\xff\xfea\0=\0"] {
            let error = parse(bytes).unwrap_err();
            all += &format!("{bytes:?}\n  {error}\n  help: {}\n", error.help);
        }
        let error = parse(&vec![b'a'; MAX_SIZE + 1]).unwrap_err();
        all += &format!("{error}\n  help: {}\n", error.help);
        insta::assert_snapshot!(all, @r###"
"a=1\nversion 1.2\n"
  line 2: it has no `=`
  help: write KEY=VALUE, and for a value of several lines KEY<<END, the lines, and END alone in a line
"a = 1"
  line 1: `a ` has spaces around it
  help: write a=VALUE without spaces
"=1"
  line 1: there is no key before the sign
  help: write KEY=VALUE
"1a=2"
  line 1: `1a` cannot be a key
  help: a key begins with a letter or `_`, and goes on with letters, digits, `_`, `.` and `-`
"ä=2"
  line 1: `ä` cannot be a key
  help: a key begins with a letter or `_`, and goes on with letters, digits, `_`, `.` and `-`
"a b=2"
  line 1: `a b` cannot be a key
  help: a key begins with a letter or `_`, and goes on with letters, digits, `_`, `.` and `-`
"a<<\nx\n"
  line 1: `a<<` has no delimiter behind it
  help: write a<<END, the lines, and END alone in a line
"ok=1\na<<END\nx\n END\n"
  line 2: the value of `a` does not end: no line is `END` alone
  help: write a line `END` behind the value, with a line end before it and no spaces
"<<E\nE\n"
  line 1: there is no key before the sign
  help: write KEY=VALUE
"a=\u{1b}[31m\n\u{1b}[31m=1"
  line 2: `\u{1b}[31m` cannot be a key
  help: a key begins with a letter or `_`, and goes on with letters, digits, `_`, `.` and `-`
[97, 61, 49, 10, 98, 61, 255, 10]
  line 2: it is not UTF-8
  help: encode binary values, for example with base64
[255, 254, 97, 0, 61, 0]
  line 1: it is not UTF-8
  help: it is UTF-16; in PowerShell write with Out-File -Encoding utf8NoBOM -Append
it has 1048577 bytes, and 1048576 are allowed
  help: write large values to a file of their own, and name it in `outputs`
"###);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,5}", "(?s)[^\r\0]{0,30}", 0..6)) {
            let mut text = String::new();
            for (key, value) in &pairs {
                if value.contains('\n') {
                    text += &format!("{key}<<EOF_7f\n{value}\nEOF_7f\n");
                } else {
                    text += &format!("{key}={value}\n");
                }
            }
            prop_assert_eq!(parse(text.as_bytes()), Ok(pairs));
        }

        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'='), Just(b'<'), Just(b'E')], 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
