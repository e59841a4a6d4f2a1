//! `dcd:plugin/run-control`: whether to stop, and how far the work is.

use crate::{
    event::StepLog,
    plugin::{bindings::run_control::Host, guest::Guest},
};

impl Host for Guest {
    async fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(Guest::cancelled(self))
    }

    async fn progress(&mut self, done: u64, total: u64, label: String) -> wasmtime::Result<()> {
        let total = if total == 0 { String::new() } else { format!("/{total}") };
        let message = format!("{label} {done}{total}");
        self.log(StepLog { level: "debug".to_owned(), message, fields: Vec::new() }).await;
        Ok(())
    }
}
