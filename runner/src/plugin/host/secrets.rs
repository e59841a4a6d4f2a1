//! `dcd:plugin/secrets`: secrets by name. Pipelines of this version have none to give.

use crate::plugin::{
    bindings::secrets::{Host, SecretError},
    guest::Guest,
};

impl Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, SecretError>> {
        Ok(Err(SecretError::NotPermitted(format!(
            "the secret `{name}` cannot be had: this version of dcd gives secrets to no plugin; grant it the \
             variable that holds the value, with `env`"
        ))))
    }
}
