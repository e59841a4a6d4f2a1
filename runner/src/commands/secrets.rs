//! Where a pipeline's secrets come from.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::CommandError,
    pipeline::{Pipeline, Secret, SecretSource},
};

/// The values of the secrets that the steps name which are to run. `runs` says which steps those are.
pub(super) fn resolve(
    workspace: &Path,
    pipeline: &Pipeline,
    runs: impl Fn(usize) -> bool,
) -> Result<BTreeMap<String, String>, CommandError> {
    let mut values = BTreeMap::new();
    for (_, step) in pipeline.steps.iter().enumerate().filter(|(index, _)| runs(*index)) {
        for name in &step.secrets {
            let secret = pipeline.secrets.iter().find(|secret| secret.name.value == name.value);
            let Some(secret) = secret.filter(|_| !values.contains_key(&name.value)) else { continue };
            let value = read(workspace, secret).map_err(|(what, help)| {
                let step = &step.name.value;
                CommandError::usage(
                    format!("the secret {}, which step `{step}` needs, {what}", name.value),
                    help,
                )
            })?;
            values.insert(name.value.clone(), value);
        }
    }
    Ok(values)
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
