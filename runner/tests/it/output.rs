//! What steps print: every byte of it, in its order, soon.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::Duration,
};

use crate::support::Project;

#[test]
fn a_whole_run() {
    let project = Project::new().scripts(&["echo hello", "printf 'no line end'", "true"]).git();
    let commit = project.git_run(&["rev-parse", "HEAD"]);
    let run = project.run(&["run"]);
    assert!(String::from_utf8_lossy(&run.stdout).contains(&commit));
    insta::assert_snapshot!(run.expect(0).out, @r#"
    shop #1  [ID]
      image   unknown: There is no Docker socket at [ROOT]/no.sock: run the container with -v [ROOT]/no.sock:[ROOT]/no.sock.
      commit  [SHA] on main
    > a
    [TIME] a | hello
    ok a  [TOOK]
    > b
    [TIME] b | no line end
    ok b  [TOOK]
    > c
    ok c  [TOOK]
    shop #1: success in [TOOK]
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    assert_eq!(run.err, "");
}

#[test]
fn stdout_and_stderr_keep_their_order() {
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let project = Project::new().scripts(&[script]);
    project.run(&["run"]).expect(0);
    let expected: String = (0..500).map(|i| format!("out {i}\nerr {i}\n")).collect();
    assert_eq!(String::from_utf8(project.logs(&["1"])).unwrap(), expected);
}

#[test]
fn bytes_stay_as_they_are() {
    let script = r"printf '\377\000\033[31mred\r\n\200'; printf '\303' ; printf '\274\n\001'";
    let project = Project::new().scripts(&[script, "printf '\\376'"]);
    let run = project.run(&["run"]);
    let first = b"\xff\0\x1b[31mred\r\n\x80\xc3\xbc\n\x01";
    let shown: Vec<_> = first.split_inclusive(|byte| *byte == b'\n').collect();
    for line in shown {
        assert!(run.stdout.windows(line.len()).any(|part| part == line), "shown as they are, too");
    }
    assert_eq!(project.logs(&["latest"]), [&first[..], b"\xfe"].concat());
    assert_eq!(project.logs(&["latest", "a"]), first);
    assert_eq!(project.logs(&["latest", "b"]), b"\xfe");
}

#[test]
fn no_line_is_too_long() {
    let project = Project::new().scripts(&["head -c 10485760 /dev/zero | tr '\\0' x"]);
    let run = project.run(&["run"]);
    assert!(run.expect(0).stdout.len() > 10 << 20);
    let logs = project.logs(&["1"]);
    assert!(logs.len() == 10 << 20 && logs.iter().all(|byte| *byte == b'x'));
}

#[test]
fn many_lines_arrive_whole() {
    let project = Project::new().scripts(&["seq 50000"]);
    let run = project.run(&["run"]);
    let lines = |prefix: &str| (1..=50_000).map(|line| format!("{prefix}{line}\n")).collect::<String>();
    assert!(run.expect(0).out.contains(&format!("> a\n{}ok a", lines("[TIME] a | "))));
    assert_eq!(project.logs(&["1"]), lines("").as_bytes());
}

#[test]
fn a_progress_bar_shows_before_its_line_ends() {
    let project =
        Project::new().scripts(&["printf 'half '; while [ ! -e go ]; do sleep 0.05; done; echo done"]);
    let run = project.spawn(&["run"]);
    run.wait_for("half ");
    project.write("go", "");
    assert!(run.finish().expect(0).out.contains("> a\n[TIME] a | half done\nok a"));
}

#[test]
fn what_was_printed_can_be_read_while_the_build_runs() {
    let project = Project::new().scripts(&["echo early; while [ ! -e go ]; do sleep 0.05; done"]);
    let run = project.spawn(&["run"]);
    run.wait_for("early\n");
    assert_eq!(project.logs(&["latest"]), b"early\n");
    let build = project.show("1");
    assert!(build["outcome"].is_null() && build["finished_at"].is_null(), "{build}");
    assert!(project.run(&["history", "list"]).out.contains("running"));
    project.write("go", "");
    run.finish().expect(0);
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let project = Project::new().scripts(&["seq 100000", "echo ran > ran"]);
    let run = project.shell("{ \"$DCD_BIN\" run; echo $? > code; } | head -n 1");
    assert!(run.out.starts_with("shop #1"));
    assert_eq!(std::fs::read_to_string(project.path().join("code")).unwrap(), "0\n");
    assert_eq!(project.show("1")["outcome"], "success");
    assert!(project.path().join("ran").exists());
    assert_eq!(project.shell("\"$DCD_BIN\" history logs 1 | head -n 2").out, "1\n2\n");
}

#[test]
fn stdout_that_is_closed_fails_nothing() {
    let project = Project::new().scripts(&["echo hello"]);
    project.shell("exec \"$DCD_BIN\" run >&-").expect(0);
    assert_eq!(project.logs(&["1"]), b"hello\n");
}

#[test]
fn a_slow_reader_loses_nothing() {
    let project = Project::new().scripts(&["seq 200000", "echo end"]);
    let mut child = project.dcd(&["run"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with(" a | 1000\n") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    // By now the pipes between the step and this test are full.
    std::thread::sleep(Duration::from_millis(500));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(rest.contains(" a | 200000\nok a") && rest.contains(" b | end\nok b"));
    let numbers = rest.lines().take(199_000).map(|line| line.split_once(" | ").unwrap().1);
    assert!(numbers.eq((1001..=200_000).map(|number| number.to_string())));
}

#[test]
fn a_broken_pipe_ends_what_writes_to_it() {
    // Where SIGPIPE is ignored, `yes` complains instead.
    let project = Project::new().scripts(&["yes | head -n 1"]);
    assert!(project.run(&["run"]).expect(0).out.contains("> a\n[TIME] a | y\nok a"));
}

#[test]
fn input_is_empty() {
    let project = Project::new().scripts(&["cat; echo \"read: $?\""]);
    let run = project.shell("echo typed | \"$DCD_BIN\" run");
    assert!(run.expect(0).out.contains("> a\n[TIME] a | read: 0\n"), "{}", run.out);
}

#[test]
fn colour_comes_when_it_is_asked_for() {
    let project = Project::new().scripts(&["exit 3"]).env("NO_COLOR", "").env("FORCE_COLOR", "1");
    assert!(project.run(&["run"]).expect(1).out.contains("\u{1b}[1;31m"));
    let project = project.env("NO_COLOR", "1");
    assert!(!project.run(&["run"]).expect(1).out.contains('\u{1b}'));
}
