//! What a step is told about its build, and what it may ask the runner for.

use serde_json::Value;

use crate::command::Command;
use crate::secrets;
use crate::types::Error;

/// Where and for what a step runs.
///
/// Native tests make one with [`StepContext::default`] and set the fields that they need.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StepContext {
    /// The build's id, a UUID.
    pub build_id: String,
    /// None while the history backend has not given a number yet.
    pub build_number: Option<u64>,
    /// What is built; build numbers count per component.
    pub component: String,
    /// The step's name in the pipeline.
    pub step_name: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The workspace's absolute path, the same inside and outside the sandbox. Files in it can be used with
    /// [`std::fs`] as far as the plugin is granted them.
    pub workspace: String,
    /// Outputs of earlier steps.
    pub inputs: Vec<Input>,
    /// The build's facts (git, container, image, ...): an object that may grow.
    pub facts: Value,
}

/// One output of an earlier step.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The earlier step's name.
    pub step: String,
    /// The output's name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl StepContext {
    /// The output `name` of the earlier step `step`.
    pub fn input(&self, step: &str, name: &str) -> Option<&Value> {
        self.inputs.iter().find(|input| input.step == step && input.name == name).map(|input| &input.value)
    }

    /// A program to run in the workspace, outside the sandbox. It needs the grant `exec`.
    pub fn command(&self, program: impl Into<String>) -> Command {
        Command::new(program)
    }

    /// The secret `name`. It is masked in everything that is printed from now on. It needs the grant
    /// `secrets`.
    pub fn secret(&self, name: &str) -> Result<String, Error> {
        secrets::get(name)
    }

    /// True once the user pressed Ctrl-C or the step's deadline passed. A step that takes long asks now and
    /// then, and answers [`StepError::Cancelled`](crate::StepError::Cancelled).
    pub fn cancelled(&self) -> bool {
        crate::host::cancelled()
    }

    /// Tells how far the step is. A `total` of 0 means that it is not known.
    pub fn progress(&self, done: u64, total: u64, label: &str) {
        crate::host::progress(done, total, label);
    }
}
