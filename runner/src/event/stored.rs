//! Events as they are stored and sent: a kind, and a payload of JSON or bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::event::{Body, Payload, STEP_OUTPUT};

/// So that no payload of another meaning fits.
#[derive(Serialize, Deserialize)]
struct Pruned<T> {
    pruned: T,
}

impl Body {
    /// The kind's name.
    pub fn kind(&self) -> &str {
        match self {
            Body::BuildStarted(_) => "build.started",
            Body::BuildNumbered(_) => "build.numbered",
            Body::BuildFacts(_) => "build.facts",
            Body::LockWaiting(_) => "lock.waiting",
            Body::LockAcquired(_) => "lock.acquired",
            Body::PluginUsed(_) => "plugin.used",
            Body::StepArtifacts(_) => "step.artifacts",
            Body::StepTests(_) => "step.tests",
            Body::StepShell(_) => "step.shell",
            Body::BuildCancelling(_) => "build.cancelling",
            Body::BuildFinished(_) => "build.finished",
            Body::AttemptStarted(_) => "attempt.started",
            Body::StepOutput(_) | Body::OutputPruned(_) => STEP_OUTPUT,
            Body::StepLog(_) => "step.log",
            Body::AttemptFinished(_) => "attempt.finished",
            Body::StepFinished(_) => "step.finished",
            Body::Unknown { kind, .. } => kind,
        }
    }

    /// The content, as it is stored and sent.
    pub fn payload(&self) -> Payload {
        match self {
            Body::BuildStarted(body) => json(body),
            Body::BuildNumbered(body) => json(body),
            Body::BuildFacts(body) => json(body),
            Body::LockWaiting(body) => json(body),
            Body::LockAcquired(body) => json(body),
            Body::PluginUsed(body) => json(body),
            Body::StepArtifacts(body) => json(body),
            Body::StepTests(body) => json(body),
            Body::StepShell(body) => json(body),
            Body::BuildCancelling(body) => json(body),
            Body::BuildFinished(body) => json(body),
            Body::AttemptStarted(body) => json(body),
            Body::StepOutput(bytes) => Payload::Bytes(bytes.clone()),
            Body::OutputPruned(body) => json(&Pruned { pruned: body }),
            Body::StepLog(body) => json(body),
            Body::AttemptFinished(body) => json(body),
            Body::StepFinished(body) => json(body),
            Body::Unknown { payload, .. } => payload.clone(),
        }
    }

    /// The body of this kind and content. What does not fit the kind as we know it is kept as unknown: a
    /// record from another version is never lost.
    pub fn from_parts(kind: &str, payload: Payload) -> Self {
        let known = match (kind, &payload) {
            (STEP_OUTPUT, Payload::Bytes(bytes)) => return Body::StepOutput(bytes.clone()),
            (STEP_OUTPUT, Payload::Json(text)) => {
                parse(text).map(|Pruned { pruned }| Body::OutputPruned(pruned))
            }
            ("build.started", Payload::Json(text)) => parse(text).map(Body::BuildStarted),
            ("build.numbered", Payload::Json(text)) => parse(text).map(Body::BuildNumbered),
            ("build.facts", Payload::Json(text)) => parse(text).map(Body::BuildFacts),
            ("lock.waiting", Payload::Json(text)) => parse(text).map(Body::LockWaiting),
            ("lock.acquired", Payload::Json(text)) => parse(text).map(Body::LockAcquired),
            ("plugin.used", Payload::Json(text)) => parse(text).map(Body::PluginUsed),
            ("step.artifacts", Payload::Json(text)) => parse(text).map(Body::StepArtifacts),
            ("step.tests", Payload::Json(text)) => parse(text).map(Body::StepTests),
            ("step.shell", Payload::Json(text)) => parse(text).map(Body::StepShell),
            ("build.cancelling", Payload::Json(text)) => parse(text).map(Body::BuildCancelling),
            ("build.finished", Payload::Json(text)) => parse(text).map(Body::BuildFinished),
            ("attempt.started", Payload::Json(text)) => parse(text).map(Body::AttemptStarted),
            ("step.log", Payload::Json(text)) => parse(text).map(Body::StepLog),
            ("attempt.finished", Payload::Json(text)) => parse(text).map(Body::AttemptFinished),
            ("step.finished", Payload::Json(text)) => parse(text).map(Body::StepFinished),
            (_, Payload::Bytes(_) | Payload::Json(_)) => None,
        };
        known.unwrap_or_else(|| Body::Unknown { kind: kind.to_owned(), payload })
    }
}

/// Our own types always serialise: they have string keys and no foreign `Serialize`.
fn json<T: Serialize>(body: &T) -> Payload {
    Payload::Json(serde_json::to_string(body).unwrap_or_else(|error| format!("{{\"lost\":\"{error}\"}}")))
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{BuildFinished, Outcome, OutputPruned};

    #[test]
    fn a_body_survives_its_stored_form() {
        let bodies = [
            Body::BuildFinished(BuildFinished {
                outcome: Outcome::Timeout,
                duration_ms: 5,
                reason: None,
                signal: Some(15),
            }),
            Body::BuildFacts(Box::default()),
            Body::StepOutput(Bytes::from_static(b"\xff\x00\n")),
            Body::OutputPruned(OutputPruned { bytes: 3, sha256: "ab".into() }),
        ];
        for body in bodies {
            assert_eq!(Body::from_parts(body.kind(), body.payload()), body);
        }
    }

    #[test]
    fn what_is_not_understood_is_kept() {
        let payload = Payload::Json("{\"new\":1}".into());
        let body = Body::from_parts("step.teleported", payload.clone());
        assert_eq!(body.kind(), "step.teleported");
        assert_eq!(body.payload(), payload);
        let odd = Body::from_parts("build.finished", payload.clone());
        assert_eq!((odd.kind(), odd.payload()), ("build.finished", payload));
    }
}
