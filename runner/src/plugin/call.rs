//! One call into a guest, with an end to it.

use std::{future::Future, time::Duration};

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::{
    plugin::{PluginError, guest::MemoryExceeded},
    text,
};

/// How long a call may take that does no work of the user's.
pub(crate) const QUICK: Duration = Duration::from_secs(10);

/// Waits for the call. After an error the instance is dead: a new one has to be made.
pub(crate) async fn limited<T>(
    plugin: &str,
    what: &str,
    limit: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, PluginError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let (what_happened, help) = cause(&error);
            Err(PluginError::new(format!("plugin {plugin} failed in `{what}`: {what_happened}")).help(help))
        }
        Err(_) => Err(PluginError::new(format!(
            "plugin {plugin} was stopped: `{what}` took longer than its limit of {}",
            text::duration(limit)
        ))
        .help("give it less to do in one step; if that is little already, report it to the plugin's author")),
    }
}

/// What happened, and what to do.
fn cause(error: &wasmtime::Error) -> (String, &'static str) {
    let report = "report it to the plugin's author";
    // The code is not said: WASI 0.2 keeps no more of it than whether it was 0.
    if error.downcast_ref::<I32Exit>().is_some() {
        return ("it ended itself with `exit` instead of giving an answer".to_owned(), report);
    }
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return (exceeded.to_string(), "give it less to do at once; the limit is the same for every plugin");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => (
            "it trapped (`unreachable`), as a panic does".to_owned(),
            "what it printed last says why, if it panicked; report it to the plugin's author",
        ),
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
        None => (error.root_cause().to_string(), report),
    }
}
