//! `--on-fail=shell`, in a terminal.

use std::{io::Write, process::ChildStdin};

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::support::{Project, Running};

/// A build with `--on-fail=shell` in a terminal; afterwards the terminal is used again.
fn run(project: &Project) -> (Running, ChildStdin) {
    let dcd = env!("CARGO_BIN_EXE_dcd");
    let script = format!("{dcd} run --on-fail=shell; code=$?; stty sane; stty -a >after; exit $code");
    let mut running = Running::start(project.in_terminal(&script), project.cleaner());
    let keys = running.keys();
    (running, keys)
}

#[track_caller]
fn press(keys: &mut ChildStdin, text: &str) {
    keys.write_all(text.as_bytes()).unwrap();
    keys.flush().unwrap();
}

#[test]
fn a_shell_opens_where_the_step_failed() {
    let project = Project::new().file("sub/x", "").pipeline(json!({ "steps": [
        {
            "name": "bad",
            "run": "echo attempt $DCD_ATTEMPT\nexit 3",
            "workdir": "sub",
            "env": { "T": "42" },
            "timeout": "2s",
            "retry": { "attempts": 2 },
            "continue_on_error": true,
        },
        { "name": "next", "run": "echo went on" },
    ] }));
    let (running, mut keys) = run(&project);
    running.wait_for("attempt 2");
    running.wait_for("when you leave it: exit");
    press(&mut keys, "echo t=$T, in $(basename $PWD), attempt=$DCD_ATTEMPT\n");
    running.wait_for("t=42, in sub, attempt=2");
    // Ctrl-C is for what the shell runs.
    press(&mut keys, "echo begins; sleep 50\n");
    running.wait_for("begins\r\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    press(&mut keys, "\x03");
    // The step's time does not run on.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    press(&mut keys, "echo still $((40 + 2))\n");
    running.wait_for("still 42");
    press(&mut keys, "stty -echo; exit 9\n");
    running.wait_for("went on");
    let run = running.finish();
    run.expect(0);
    assert_eq!(run.out.matches("when you leave it").count(), 1, "after the last attempt: {}", run.out);
    insta::assert_snapshot!(run.out[run.out.find("\r\nA shell").unwrap()..].lines().take(5).collect::<Vec<_>>().join("\n"), @r"

    A shell where step `bad` failed, with its environment.
      directory  [ROOT]/shop/sub
      command    echo attempt $DCD_ATTEMPT …
    The build goes on when you leave it: exit
    ");
    let step = &project.show("1")["steps"][0];
    let outcomes: Vec<_> =
        step["attempts"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failure", "failure"]);
    assert!(step["attempts"][1]["duration_ms"].as_u64().unwrap() < 2000, "the look does not count: {step:#}");
    let after = std::fs::read_to_string(project.path().join("after")).unwrap();
    assert!(after.contains(" echo "), "{after}");
}

#[test]
fn a_signal_ends_the_shell_too() {
    let project = Project::new().scripts(&["exit 3"]);
    let (running, mut keys) = run(&project);
    running.wait_for("when you leave it: exit");
    press(&mut keys, "echo parent=$PPID.\n");
    running.wait_for("parent=");
    let text = || String::from_utf8_lossy(&running.stdout()).into_owned();
    let started = std::time::Instant::now();
    let parent: i32 = loop {
        let text = text();
        let found = text.match_indices("parent=").find_map(|(at, word)| {
            text[at + word.len()..].split_once('.').and_then(|(pid, _)| pid.parse().ok())
        });
        if let Some(pid) = found {
            break pid;
        }
        assert!(started.elapsed().as_secs() < 30, "{text}");
    };
    rustix::process::kill_process(Pid::from_raw(parent).unwrap(), Signal::TERM).unwrap();
    running.finish().expect(143);
    assert!(started.elapsed().as_secs() < 9, "the shell did not have to be killed");
    let build = project.show("1");
    assert_eq!(
        (&build["outcome"], &build["steps"][0]["outcome"]),
        (&json!("cancellation"), &json!("failure"))
    );
}

#[test]
fn without_a_terminal_there_is_no_shell() {
    let project = Project::new().scripts(&["exit 3"]);
    let run = project.run(&["run", "--on-fail=shell"]);
    insta::assert_snapshot!(run.expect(1).err, @"warning: --on-fail=shell opens no shell: this is no terminal (docker run needs `-it` for one)
");
}

#[test]
fn a_shell_opens_where_a_step_of_an_earlier_build_ran() {
    let project = Project::new().file("sub/x", "").git();
    let project = project.env("CI_TOKEN", "hush-hush").pipeline(json!({
        "params": { "n": { "type": "integer", "default": 1 } },
        "secrets": { "TOKEN": { "env": "CI_TOKEN" } },
        "steps": [
            { "name": "make", "run": "echo v=1.2 >>\"$DCD_OUTPUT\"" },
            {
                "name": "use", "run": "exit 3", "workdir": "sub", "secrets": ["TOKEN"],
                "env": { "N": "${{ params.n }}", "V": "${{ steps.make.outputs.v }}" },
            },
        ],
    }));
    project.run(&["run", "--param", "n=7"]).expect(1);
    // The record says what it ran; the file of today does not count.
    let project = project.scripts(&["true"]);
    let dcd = env!("CARGO_BIN_EXE_dcd");
    let mut running = Running::start(project.in_terminal(&format!("{dcd} shell 1 use")), project.cleaner());
    let mut keys = running.keys();
    running.wait_for("Leave it with: exit");
    press(&mut keys, "echo n=$N v=$V in $(basename $PWD) build=$DCD_BUILD_NUMBER token=${#TOKEN}\n");
    running.wait_for("n=7 v=1.2 in sub build=1 token=9");
    press(&mut keys, "exit\n");
    running.finish().expect(0);
    assert_eq!(project.journals().len(), 1, "a look is no build");

    let refused = project.run(&["shell", "1", "use"]);
    assert!(refused.expect(2).err.contains("needs a terminal"), "{}", refused.err);
}
