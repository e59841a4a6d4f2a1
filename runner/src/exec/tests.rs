use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::mpsc;

use super::*;
use crate::{
    engine::message::{StepContent, StepMessage, Stop},
    event::Outcome,
};

/// A script that is told apart by its mark.
fn script(mark: &str, script: &str) -> Program {
    Program {
        argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
        surroundings: std::sync::Arc::new(std::env::vars_os().collect()),
        env: vec![("DCD_OUTPUT".into(), mark.into())],
        directory: std::env::temp_dir(),
    }
}

struct Attempt {
    stops: mpsc::UnboundedSender<Stop>,
    messages: mpsc::Receiver<StepMessage>,
    task: tokio::task::JoinHandle<Ended>,
}

fn start(processes: &Processes, program: Program) -> Attempt {
    let (sender, messages) = mpsc::channel(100);
    let (stops, mut control) = mpsc::unbounded_channel();
    let processes = processes.clone();
    let task = tokio::spawn(async move { run(&processes, &program, 0, &sender, &mut control).await });
    Attempt { stops, messages, task }
}

impl Attempt {
    /// The id that the attempt printed.
    async fn printed(&mut self) -> Pid {
        match self.messages.recv().await.unwrap().content {
            StepContent::Output(bytes) => {
                Pid::from_raw(String::from_utf8_lossy(&bytes).trim().parse().unwrap()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn lives(pid: Pid) -> bool {
    family::descendants().iter().any(|process| process.pid == pid)
}

/// One test: two reapers in one process would take each other's dead.
#[tokio::test]
async fn attempts_beside_each_other() {
    let processes = Processes::collected().unwrap();
    // A child of somebody else in this process, who waits for it himself.
    let mut library = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();

    // Both start a daemon; one is killed, with its own daemon.
    let daemon = "setsid sh -c 'sleep 50 >/dev/null 2>&1 & echo $!'; sleep 50";
    let (mut one, mut two) =
        (start(&processes, script("one", daemon)), start(&processes, script("two", daemon)));
    let (of_one, of_two) = (one.printed().await, two.printed().await);
    assert!(lives(of_one) && lives(of_two));
    one.stops.send(Stop::Kill).unwrap();
    let ended = one.task.await.unwrap();
    assert!(ended.stopped);
    assert_eq!((ended.end.signal, ended.end.leaked), (Some(9), false));
    assert!(!lives(of_one) && lives(of_two));

    // It is ended by its own process, and what it left is collected, whoever is dead beside it.
    two.stops.send(Stop::Grace).unwrap();
    let ended = two.task.await.unwrap();
    assert_eq!((ended.end.signal, ended.end.outcome), (Some(15), Outcome::Failure));
    let zombie = |pid: Pid| std::path::Path::new(&format!("/proc/{pid}")).exists();
    for _ in 0..200 {
        if !zombie(of_one) && !zombie(of_two) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!zombie(of_one) && !zombie(of_two), "orphans are collected");
    assert_eq!(library.wait().unwrap().code(), Some(7), "and nobody else's children");

    // Many at once.
    let many: Vec<_> = (0..50)
        .map(|number| start(&processes, script(&number.to_string(), &format!("exit {number}"))))
        .collect();
    for (number, attempt) in (0..).zip(many) {
        assert_eq!(attempt.task.await.unwrap().end.exit_code, Some(number));
    }
}
