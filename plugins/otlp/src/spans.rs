//! From events to spans, by OpenTelemetry's conventions for CI/CD.

use std::collections::HashMap;

use dcd_plugin_sdk::observer::{BuildInfo, Event, Payload};
use dcd_plugin_sdk::serde_json::{self, Value, json};

use crate::wire::{Kind, Span};

/// What is known of a build so far.
#[derive(Debug)]
pub(crate) struct Spans {
    build: BuildInfo,
    started: u64,
    /// Of the build's span.
    attributes: Vec<(&'static str, Value)>,
    /// When each running attempt began.
    running: HashMap<(String, u64), u64>,
    /// What each step is.
    kinds: HashMap<String, String>,
}

impl Spans {
    pub(crate) fn new(build: BuildInfo) -> Self {
        let attributes = vec![
            ("cicd.pipeline.name", json!(build.pipeline)),
            ("cicd.pipeline.run.id", json!(build.id)),
            ("cicd.pipeline.action.name", json!("BUILD")),
            ("dcd.component", json!(build.component)),
        ];
        Spans { build, started: 0, attributes, running: HashMap::new(), kinds: HashMap::new() }
    }

    /// Takes an event; a span that ends with it is given back.
    pub(crate) fn event(&mut self, event: &Event) -> Option<Span> {
        let Payload::Json(text) = &event.payload else { return None };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        match (event.kind.as_str(), &event.step) {
            ("build.started", _) => self.build_started(event.at, &value),
            ("build.numbered", _) => self.attributes.push(("dcd.build.number", value["number"].clone())),
            ("build.facts", _) => self.facts(&value),
            ("attempt.started", Some(step)) => {
                self.running.insert((step.clone(), value["attempt"].as_u64()?), event.at);
            }
            ("attempt.finished", Some(step)) => return self.attempt_finished(step, event.at, &value),
            ("build.finished", _) => return Some(self.build_finished(event.at, &value)),
            _ => {}
        }
        None
    }

    fn build_started(&mut self, at: u64, value: &Value) {
        self.started = at;
        for step in value["steps"].as_array().into_iter().flatten() {
            if let (Some(name), Some(kind)) = (step["name"].as_str(), step["type"].as_str()) {
                self.kinds.insert(name.to_owned(), kind.to_owned());
            }
        }
    }

    fn facts(&mut self, facts: &Value) {
        let known = [
            ("vcs.ref.head.revision", &facts["git"]["commit"]),
            ("vcs.ref.head.name", &facts["git"]["branch"]),
            ("vcs.repository.url.full", &facts["git"]["remote"]),
            ("oci.manifest.digest", &facts["image"]["digest"]),
            ("host.name", &facts["host"]["name"]),
        ];
        // What is not known is an object that says why.
        let known = known.into_iter().filter(|(_, value)| value.is_string());
        self.attributes.extend(known.map(|(key, value)| (key, value.clone())));
    }

    fn attempt_finished(&mut self, step: &str, at: u64, value: &Value) -> Option<Span> {
        let attempt = value["attempt"].as_u64()?;
        let start = self.running.remove(&(step.to_owned(), attempt))?;
        let outcome = value["outcome"].as_str().unwrap_or("error");
        let run = format!("{}/{step}/{attempt}", self.build.id);
        let mut attributes = vec![
            ("cicd.pipeline.task.name", json!(step)),
            ("cicd.pipeline.task.run.id", json!(run)),
            ("cicd.pipeline.task.run.result", json!(outcome)),
            ("dcd.step.attempt", json!(attempt)),
        ];
        attributes.extend(self.kinds.get(step).map(|kind| ("dcd.step.type", json!(kind))));
        if value["exit_code"].is_i64() {
            attributes.push(("process.exit.code", value["exit_code"].clone()));
        }
        let problem = value["problem"]["message"].as_str();
        let error = wrong(outcome, problem);
        attributes.extend(error.is_some().then(|| ("error.type", json!(outcome))));
        Some(Span {
            trace: self.build.trace_id.clone(),
            id: self.build.attempt_span(step, u32::try_from(attempt).ok()?),
            parent: Some(self.build.span_id.clone()),
            state: self.build.trace_state.clone(),
            name: step.to_owned(),
            kind: Kind::Internal,
            start,
            end: at,
            attributes,
            error,
        })
    }

    fn build_finished(&mut self, at: u64, value: &Value) -> Span {
        let outcome = value["outcome"].as_str().unwrap_or("error");
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.push(("cicd.pipeline.result", json!(outcome)));
        let error = wrong(outcome, value["reason"].as_str());
        attributes.extend(error.is_some().then(|| ("error.type", json!(outcome))));
        Span {
            trace: self.build.trace_id.clone(),
            id: self.build.span_id.clone(),
            parent: self.build.parent_span_id.clone(),
            state: self.build.trace_state.clone(),
            name: format!("BUILD {}", self.build.pipeline),
            kind: Kind::Server,
            start: if self.started == 0 { at } else { self.started },
            end: at,
            attributes,
            error,
        }
    }
}

/// The message of a span's status, if its outcome is an error there.
fn wrong(outcome: &str, message: Option<&str>) -> Option<String> {
    let bad = matches!(outcome, "failure" | "error" | "timeout");
    bad.then(|| message.unwrap_or(outcome).to_owned())
}
