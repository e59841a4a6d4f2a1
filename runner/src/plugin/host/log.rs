//! `dcd:plugin/log`: a plugin's diagnostics about itself.

use crate::{
    event::StepLog,
    plugin::{
        bindings::log::{Host, Level},
        guest::Guest,
    },
};

impl Host for Guest {
    async fn emit(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
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
