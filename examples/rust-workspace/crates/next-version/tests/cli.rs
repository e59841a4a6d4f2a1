//! The program, as it is started.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

fn next_version(arguments: &[&str], subjects: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_next-version"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that looks at its arguments first may have ended by now.
    let _ = program.stdin.take().unwrap().write_all(subjects.as_bytes());
    program.wait_with_output().unwrap()
}

#[test]
fn the_largest_change_decides() {
    let output = next_version(&["1.4.2"], "fix: one\nfeat: two\ndocs: three\n");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"1.5.0\n".as_slice()));
}

#[test]
fn without_a_change_the_version_stays() {
    assert_eq!(next_version(&["v1.4.2"], "docs: three\n").stdout, b"1.4.2\n");
}

#[test]
fn wrong_arguments_are_said() {
    assert_eq!(next_version(&[], "").status.code(), Some(2));
    let output = next_version(&["1.x"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"next-version: \"1.x\" is not a version like 1.4.2\n");
}
