//! `dcd:plugin/secrets`: secrets by name.

use crate::plugin::{
    bindings::secrets::{Host, SecretError},
    guest::Guest,
};

impl Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, SecretError>> {
        let Guest { warden, given, .. } = self;
        if !given.own_secrets.contains(&name) && !warden.grants.secret(&name) {
            let line = serde_json::Value::from(name.as_str()).to_string();
            let denial = warden.grants.denial("secrets", &format!("the secret `{name}`"), &line);
            warden.note_refusal(denial.clone());
            return Ok(Err(SecretError::NotPermitted(denial)));
        }
        Ok(match given.secrets.get(&name) {
            // All of the pipeline's secrets are masked from its first event on.
            Some(Ok(value)) => {
                warden.used(|used| &mut used.secrets, &name);
                Ok(value.clone())
            }
            Some(Err(problem)) => Err(SecretError::NotFound(problem.message.clone())),
            None => Err(SecretError::NotFound(format!(
                "the pipeline has no secret `{name}`; it is declared beside `steps`: \
                 \"secrets\": {{\"{name}\": {{\"env\": \"{name}\"}}}}"
            ))),
        })
    }
}
