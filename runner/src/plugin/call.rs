//! One call into a guest, with an end to it.

use std::{future::Future, time::Duration};

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::{
    pipeline::{duration, size},
    plugin::{PluginError, engine::HOSTCALL_FUEL, guest::MemoryExceeded, warden::Warden},
    text,
};

/// How long a call may take that does no work of the user's.
pub(crate) const QUICK: Duration = Duration::from_secs(10);

/// Waits for the call. After an error the instance is dead: a new one has to be made.
pub(crate) async fn limited<T>(
    warden: &Warden,
    what: &str,
    limit: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, PluginError> {
    let plugin = &warden.name;
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let (what_happened, help) = cause(&error, warden);
            Err(PluginError::new(format!("plugin {plugin} failed in `{what}`: {what_happened}")).help(help))
        }
        Err(_) => {
            let error = PluginError::new(format!(
                "plugin {plugin} was stopped: `{what}` took longer than its limit of {}",
                text::duration(limit)
            ));
            Err(if limit == QUICK {
                error.help("report it to the plugin's author")
            } else {
                let more = format!("\"{}\"", duration::format(limit * 2));
                error.help(warden.grants.raise("call_timeout", &more))
            })
        }
    }
}

/// What happened, and what to do.
fn cause(error: &wasmtime::Error, warden: &Warden) -> (String, String) {
    let report = "report it to the plugin's author".to_owned();
    // The code is not said: WASI 0.2 keeps no more of it than whether it was 0.
    if error.downcast_ref::<I32Exit>().is_some() {
        return ("it ended itself with `exit` instead of giving an answer".to_owned(), report);
    }
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        let more = format!("\"{}\"", size::format(exceeded.limit * 2));
        return (exceeded.to_string(), warden.grants.raise("memory", &more));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => match warden.panic() {
            Some(said) => (format!("it panicked: {said}"), report),
            None => (
                "it trapped (`unreachable`), as a panic does".to_owned(),
                "what it printed last says why, if it panicked; report it to the plugin's author".to_owned(),
            ),
        },
        Some(Trap::StackOverflow) => {
            ("it used more than its limit of stack, as an endless recursion does".to_owned(), report)
        }
        // Compilers put a guest's own stack at the start of its memory: what runs over it leaves the memory.
        Some(Trap::MemoryOutOfBounds) => (
            "it reached outside its memory: most likely it used up its stack, as an endless recursion does"
                .to_owned(),
            report,
        ),
        Some(trap) => (format!("it trapped: {trap}"), report),
        // wasmtime has no type for it.
        None if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            let limit = size::format(HOSTCALL_FUEL as u64);
            (
                format!("it handed over more than its limit of {limit} in one call"),
                "let it write what is big to a file; the limit is the same for every plugin".to_owned(),
            )
        }
        None => (error.root_cause().to_string(), report),
    }
}
