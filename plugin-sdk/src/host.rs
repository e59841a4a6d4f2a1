//! The runner, as a plugin sees it. Elsewhere than in WebAssembly [`crate::mock`] takes its place.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::mock::{
    cancelled, emit, run_command as run, say_progress as progress, secret, send, send_all, sleep,
};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{cancelled, emit, progress, run, secret, send, send_all, sleep};

#[cfg(target_arch = "wasm32")]
mod wasm {
    use crate::bindings::imports::dcd::plugin::{log, secrets};
    use crate::bindings::step::dcd::plugin::{command as wire, run_control};
    use crate::command::{Capture, Command, Exit};
    use crate::log::Level;
    use crate::types::Error;
    use crate::{Fault, StepError};

    pub(crate) use crate::http::wasi::{send, send_all};
    pub(crate) use run_control::{cancelled, progress};
    pub(crate) use std::thread::sleep;

    pub(crate) fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::emit(level, message, &fields);
    }

    pub(crate) fn secret(name: &str) -> Result<String, Error> {
        secrets::get(name).map_err(|error| match error {
            secrets::SecretError::NotPermitted(why) => Error::denied(why),
            secrets::SecretError::NotFound(why) => Error::not_found(why),
            secrets::SecretError::Unavailable(why) => Error::unavailable(why),
        })
    }

    pub(crate) fn run(command: &Command) -> Result<Exit, StepError> {
        let spec = wire::Spec {
            program: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            cwd: command.cwd.clone(),
            stdin: command.stdin.clone(),
            timeout_ms: command.timeout.map(|limit| limit.as_millis().try_into().unwrap_or(u64::MAX)),
            capture: match command.capture {
                Capture::None => wire::Capture::None,
                Capture::Stdout => wire::Capture::Stdout,
                Capture::Stderr => wire::Capture::Stderr,
                Capture::Both => wire::Capture::Both,
            },
            capture_limit: command.capture_limit,
        };
        match wire::run(&spec) {
            Ok(exit) => Ok(Exit {
                program: spec.program,
                code: exit.code,
                signal: exit.signal,
                stdout: exit.stdout,
                stderr: exit.stderr,
                truncated: exit.truncated,
            }),
            Err(wire::CommandError::Cancelled) => Err(StepError::Cancelled),
            Err(wire::CommandError::NotPermitted(why)) => Err(Error::denied(why).into()),
            Err(wire::CommandError::NotFound(why)) => Err(Error::not_found(why).into()),
            Err(wire::CommandError::FailedToStart(fault)) => Err(fault.into()),
            Err(wire::CommandError::TimedOut) => {
                Err(StepError::failed(Fault::new(format!("{} ran out of its time", spec.program))))
            }
        }
    }
}
