//! Masking events.

use std::collections::BTreeMap;

use super::Redactor;
use crate::{
    event::{Body, Payload, Problem},
    facts::Facts,
};

/// Masks what a body has from others: steps, plugins, files, the surroundings. What a step printed is left as it
/// is, as its [`Stream`](super::Stream) masks it.
pub fn body(redactor: &Redactor, body: &mut Body) {
    if redactor.is_empty() {
        return;
    }
    match body {
        // Made of the file's own words and of numbers.
        Body::BuildStarted(_)
        | Body::BuildNumbered(_)
        | Body::AttemptStarted(_)
        | Body::StepOutput(_)
        | Body::OutputPruned(_) => {}
        Body::BuildFacts(facts) => mask_facts(redactor, facts),
        Body::LockWaiting(lock) => {
            redactor.string(&mut lock.lock);
            redactor.string(&mut lock.holder);
            optional(redactor, &mut lock.by);
            optional(redactor, &mut lock.problem);
        }
        Body::LockAcquired(lock) => {
            redactor.string(&mut lock.lock);
            optional(redactor, &mut lock.by);
            optional(redactor, &mut lock.only_here);
        }
        Body::BuildCancelling(cancelling) => optional(redactor, &mut cancelling.reason),
        Body::BuildFinished(finished) => optional(redactor, &mut finished.reason),
        Body::StepLog(log) => {
            redactor.string(&mut log.message);
            for (name, value) in &mut log.fields {
                redactor.string(name);
                redactor.string(value);
            }
        }
        Body::PluginUsed(used) => {
            for names in [&mut used.http, &mut used.tcp, &mut used.secrets, &mut used.programs] {
                *names = names.iter().map(|name| redactor.text(name).into_owned()).collect();
            }
        }
        Body::StepArtifacts(found) => {
            for artifact in &mut found.artifacts {
                redactor.string(&mut artifact.path);
            }
        }
        Body::StepTests(tests) => {
            redactor.string(&mut tests.report);
            for case in &mut tests.cases {
                redactor.string(&mut case.suite);
                redactor.string(&mut case.name);
                optional(redactor, &mut case.message);
            }
        }
        Body::StepShell(shell) => redactor.string(&mut shell.directory),
        Body::AttemptFinished(finished) => {
            if let Some(Problem { message, help }) = &mut finished.problem {
                redactor.string(message);
                optional(redactor, help);
            }
        }
        Body::StepFinished(finished) => {
            optional(redactor, &mut finished.reason);
            optional(redactor, &mut finished.summary);
            outputs(redactor, &mut finished.outputs);
        }
        Body::Unknown { payload, .. } => match payload {
            Payload::Json(text) => redactor.string(text),
            Payload::Bytes(bytes) => *bytes = redactor.bytes(bytes).into_owned().into(),
        },
    }
}

fn optional(redactor: &Redactor, text: &mut Option<String>) {
    if let Some(text) = text {
        redactor.string(text);
    }
}

fn outputs(redactor: &Redactor, outputs: &mut BTreeMap<String, serde_json::Value>) {
    let mut values = serde_json::Value::Object(std::mem::take(outputs).into_iter().collect());
    redactor.json(&mut values);
    if let serde_json::Value::Object(values) = values {
        outputs.extend(values);
    }
}

/// Masks what is recorded of the surroundings: by way of JSON, as facts are many fields of many types. When a secret is one
/// of the words that a type is made of ("linux"), nothing is told rather than that.
pub fn mask_facts(redactor: &Redactor, facts: &mut Facts) {
    let Ok(mut value) = serde_json::to_value(&*facts) else { return };
    let before = value.clone();
    // Sizes and counts stay numbers, so that the facts can be read again.
    redactor.value(&mut value, false);
    if value != before {
        *facts = serde_json::from_value(value).unwrap_or_default();
    }
}
