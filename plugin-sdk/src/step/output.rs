//! What a step answers.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::types::{Error, Fault, Json};

/// What a step that succeeded leaves behind.
///
/// ```
/// let output = dcd_plugin_sdk::StepOutput::new().output("status", 201).summary("created");
/// assert_eq!(output.get("status"), Some(201.into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepOutput {
    pub(super) outputs: Vec<(String, Json)>,
    pub(super) summary: Option<String>,
    pub(super) broken: Option<Error>,
}

impl StepOutput {
    /// No outputs and no summary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value that later steps can read. A later one of the same name replaces it.
    ///
    /// A value that has no JSON form (a map whose keys are not text) makes the step end as broken.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_string(&value) {
            Ok(json) => self.output_json(name, json),
            Err(error) => {
                let error =
                    Error::from(error).context(format!("the output {name:?} cannot be written as JSON"));
                self.broken.get_or_insert(error);
                self
            }
        }
    }

    /// Adds a value that is JSON text already. The runner refuses a text that is not JSON.
    #[must_use]
    pub fn output_json(mut self, name: impl Into<String>, json: impl Into<Json>) -> Self {
        let name = name.into();
        self.outputs.retain(|(existing, _)| *existing != name);
        self.outputs.push((name, json.into()));
        self
    }

    /// Says in one line what was done, for the build's summary.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// The value of an output, for tests.
    pub fn get(&self, name: &str) -> Option<Value> {
        let (_, json) = self.outputs.iter().find(|(existing, _)| existing == name)?;
        serde_json::from_str(json).ok()
    }
}

/// Why a step did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepError {
    /// The thing being built or tested said no; the plugin worked. The step's outcome is `failure`.
    Failed(Fault),
    /// The plugin stopped because it was asked to. The step's outcome is `cancellation`.
    Cancelled,
    /// The plugin could not do its job. The step's outcome is `error`. This is what `?` makes of other
    /// errors.
    Broken(Error),
}

impl StepError {
    /// The thing being built or tested said no.
    pub fn failed(fault: impl Into<Fault>) -> Self {
        Self::Failed(fault.into())
    }

    /// Adds what the user should try.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        match self {
            Self::Failed(fault) => Self::Failed(fault.help(help)),
            Self::Broken(error) => Self::Broken(error.help(help)),
            Self::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(fault) => fault.fmt(f),
            Self::Cancelled => f.write_str("the step was cancelled"),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StepError {}

impl<E> From<E> for StepError
where
    Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn outputs_are_json_and_replace_each_other() {
        let output = StepOutput::new().output("a", "x").output("a", vec![1, 2]).summary("done");
        assert_eq!(output.outputs, [("a".to_owned(), "[1,2]".to_owned())]);
        assert_eq!(output.summary.as_deref(), Some("done"));
    }

    #[test]
    fn a_value_without_a_json_form_breaks_the_step() {
        let output = StepOutput::new().output("bad", BTreeMap::from([(vec![1], 2)]));
        assert!(matches!(output.broken, Some(Error::Other(fault)) if fault.message.contains("\"bad\"")));
    }

    #[test]
    fn other_errors_become_broken() {
        fn run() -> Result<StepOutput, StepError> {
            std::fs::read("/no/such/file")?;
            Ok(StepOutput::new())
        }
        assert!(matches!(run(), Err(StepError::Broken(Error::NotFound(_)))));
    }
}
