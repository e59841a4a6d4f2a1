//! Where a pipeline's secrets come from.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    error::CommandError,
    event::Problem,
    pipeline::{Pipeline, Secret, SecretSource, Spanned, Step},
    plugin::{self, Grants},
};

/// The values of a build's secrets.
#[derive(Default)]
pub(super) struct Secrets {
    values: BTreeMap<String, String>,
    /// Why those have no value that only steps with an `if` name: these may not need them.
    missing: BTreeMap<String, Problem>,
    /// All that the file declares, for plugins. As far as they can be read, they are masked: a step of an earlier
    /// build may have left them in the workspace.
    all: Arc<plugin::Secrets>,
}

impl Secrets {
    /// Reads the secrets that the steps name which are to run. `runs` says which steps those are.
    pub(super) fn resolve(
        workspace: &Path,
        pipeline: &Pipeline,
        runs: impl Fn(usize) -> bool,
    ) -> Result<Self, CommandError> {
        let mut secrets = Secrets::default();
        for (_, step) in pipeline.steps.iter().enumerate().filter(|(index, _)| runs(*index)) {
            for Spanned { value: name, .. } in &step.secrets {
                if secrets.values.contains_key(name) {
                    continue;
                }
                let secret = pipeline.secrets.iter().find(|secret| secret.name.value == *name);
                let Some(secret) = secret else { continue };
                match read(workspace, secret) {
                    Ok(value) => {
                        secrets.values.insert(name.clone(), value);
                    }
                    Err((what, help)) => {
                        let step_name = &step.name.value;
                        let message = format!("the secret {name}, which step `{step_name}` needs, {what}");
                        if step.conditions.iter().all(|condition| condition.expression.is_none()) {
                            return Err(CommandError::usage(message, help));
                        }
                        secrets.missing.insert(name.clone(), Problem::new(message, help));
                    }
                }
            }
        }
        let mut all = secrets.values.iter().map(|(name, value)| (name.clone(), Ok(value.clone()))).collect();
        read_others(workspace, &pipeline.secrets, &mut all, |_| true);
        secrets.all = Arc::new(all);
        Ok(secrets)
    }

    /// The names of those that have a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.values.keys()
    }

    /// All values that nobody is to see.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &String> {
        self.all.values().filter_map(|secret| secret.as_ref().ok())
    }

    /// All that the file declares.
    pub(super) fn all(&self) -> Arc<plugin::Secrets> {
        self.all.clone()
    }

    /// Name and value of each that the step names.
    pub(super) fn of(&self, step: &Step) -> Result<Vec<(String, String)>, Problem> {
        let of = |Spanned { value: name, .. }: &Spanned<String>| match self.values.get(name) {
            Some(value) => Some(Ok((name.clone(), value.clone()))),
            None => self.missing.get(name).cloned().map(Err),
        };
        step.secrets.iter().filter_map(of).collect()
    }
}

/// Those of the declared secrets that a plugin is granted.
pub(super) fn granted(workspace: &Path, declared: &[Secret], grants: &Grants) -> plugin::Secrets {
    let mut secrets = plugin::Secrets::default();
    read_others(workspace, declared, &mut secrets, |name| grants.secret(name));
    secrets
}

/// Adds those that are missing.
fn read_others(
    workspace: &Path,
    declared: &[Secret],
    secrets: &mut plugin::Secrets,
    wanted: impl Fn(&str) -> bool,
) {
    for secret in declared.iter().filter(|secret| wanted(&secret.name.value)) {
        let name = &secret.name.value;
        if !secrets.contains_key(name) {
            let value = read(workspace, secret)
                .map_err(|(what, help)| Problem::new(format!("the secret {name} {what}"), help));
            secrets.insert(name.clone(), value);
        }
    }
}

/// The value, or what is wrong with it and what to do.
fn read(workspace: &Path, secret: &Secret) -> Result<String, (String, String)> {
    let value = match &secret.from {
        SecretSource::Env(variable) => std::env::var(variable).map_err(|error| match error {
            std::env::VarError::NotPresent => (
                format!("comes from the variable {variable}, which is not set"),
                format!("set it where dcd starts; for a container: `docker run -e {variable} ...`"),
            ),
            std::env::VarError::NotUnicode(_) => (
                format!("comes from the variable {variable}, which is not UTF-8 text"),
                "encode it, for example in base64, and decode it in the step".to_owned(),
            ),
        })?,
        SecretSource::File(file) => {
            let path = workspace.join(file);
            let bytes = std::fs::read(&path).map_err(|error| {
                let help = "mount it into the container: `docker run -v HOST_FILE:FILE:ro ...`";
                (format!("comes from the file {}: {error}", path.display()), help.to_owned())
            })?;
            let mut text = String::from_utf8(bytes).map_err(|_| {
                let help = "encode it, for example in base64, and decode it in the step";
                (format!("comes from the file {}, which is not UTF-8 text", path.display()), help.to_owned())
            })?;
            // Editors end a file with a line end; it is not part of a password.
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            text
        }
    };
    match value {
        value if value.is_empty() => Err(("is empty".to_owned(), "give it its value".to_owned())),
        value if value.contains('\0') => Err((
            "holds a NUL character, which no variable can hold".to_owned(),
            "encode it, for example in base64, and decode it in the step".to_owned(),
        )),
        value => Ok(value),
    }
}

/// The variables of dcd's own environment that hold a secret: only those steps see its value that name it.
pub(super) fn variables(pipeline: &Pipeline) -> Vec<String> {
    let variable = |secret: &Secret| match &secret.from {
        SecretSource::Env(variable) => Some(variable.clone()),
        SecretSource::File(_) => None,
    };
    pipeline.secrets.iter().filter_map(variable).collect()
}
