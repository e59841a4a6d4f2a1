//! `dcd:plugin/log`: a plugin's diagnostics about itself.

use crate::{
    event::StepLog,
    plugin::{
        bindings::log::{Host, Level},
        guest::{Guest, SAID_LIMIT},
    },
    text::clip,
};

impl Host for Guest {
    async fn emit(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        if let (Level::Error, [(file, at), (line, number)]) = (level, &fields[..])
            && (file.as_str(), line.as_str()) == ("file", "line")
        {
            // That is what the SDK says of a panic. Should nothing break after it, it was none.
            self.warden.panicked(format!("{} (at {at}:{number})", clip(&message, SAID_LIMIT)));
        }
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.log(StepLog { level: level.to_owned(), message, fields }).await;
        Ok(())
    }
}
