//! What the end of a process says about the step.

use std::path::Path;

use rustix::process::{Signal, WaitStatus};

use super::Program;
use crate::{
    engine::message::StepEnd,
    event::{Outcome, Problem},
};

const CRASHED: &str = "the program crashed: look for a fault in it, or in what it was given";
const SENT: &str = "another process sent it, or the step itself";

/// How the attempt ended, by its process alone.
pub(super) fn end_of(status: Option<WaitStatus>, shell: bool) -> StepEnd {
    let Some(status) = status else {
        return StepEnd::error(Problem::new(
            "the end of the step's process could not be observed",
            "something else in this container collects its processes; report this",
        ));
    };
    let exit_code = status.exit_status();
    let signal = status.terminating_signal();
    let outcome = if exit_code == Some(0) { Outcome::Success } else { Outcome::Failure };
    let problem = match (exit_code, signal) {
        (Some(code), _) if shell => shell_hint(code),
        (None, Some(signal)) => Some(killed(signal)),
        _ => None,
    };
    StepEnd { exit_code, signal, problem, ..StepEnd::new(outcome) }
}

fn killed(signal: i32) -> Problem {
    let (name, help) = match Signal::from_named_raw(signal) {
        Some(Signal::KILL) => (
            "SIGKILL",
            "out of memory? The kernel ends processes this way (see `dmesg`, or the container's memory limit)",
        ),
        Some(Signal::SEGV) => ("SIGSEGV", CRASHED),
        Some(Signal::ABORT) => ("SIGABRT", CRASHED),
        Some(Signal::BUS) => ("SIGBUS", CRASHED),
        Some(Signal::ILL) => ("SIGILL", CRASHED),
        Some(Signal::FPE) => ("SIGFPE", CRASHED),
        Some(Signal::TERM) => ("SIGTERM", SENT),
        Some(Signal::INT) => ("SIGINT", SENT),
        Some(Signal::HUP) => ("SIGHUP", SENT),
        _ => ("", SENT),
    };
    let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
    Problem::new(format!("the process was ended by signal {signal}{name}"), help)
}

/// What the shell's own exit codes mean, when a script ends with one.
fn shell_hint(code: i32) -> Option<Problem> {
    match code {
        126 => Some(Problem::new(
            "exit code 126: the shell found the command but could not execute it",
            "check the executable bit (`chmod +x FILE`), or the interpreter on the script's first line",
        )),
        127 => Some(Problem::new(
            "exit code 127: the shell did not find a command that the script names",
            "the output says which one: install it in the image, or check its spelling; if it is a script that is \
             there, the interpreter on its first line is missing",
        )),
        _ => None,
    }
}

/// Whether the exit codes are a shell's.
pub(super) fn is_shell(program: &Program) -> bool {
    Path::new(&program.argv[0]).file_name().is_some_and(|name| name == "sh")
}
