//! `dcd:plugin/command`: programs. No plugin can be granted any in this version.

use crate::plugin::{
    bindings::{
        command::{CommandError, Exit, Host, Spec},
        types,
    },
    guest::Guest,
};

impl Host for Guest {
    async fn run(&mut self, spec: Spec) -> wasmtime::Result<Result<Exit, CommandError>> {
        Ok(Err(CommandError::NotPermitted(format!(
            "the program `{}` cannot be run: this version of dcd lets no plugin run programs; run it in a step \
             of its own, with `run`",
            spec.program
        ))))
    }
}

impl types::Host for Guest {}
