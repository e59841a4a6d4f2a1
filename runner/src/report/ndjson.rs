//! A build as its events, one JSON object a line: `docs/events.md` says what they hold.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    engine::ports::Sink,
    event::{Event, Payload},
    report::out::Out,
};

/// Writes events as JSON.
pub struct Ndjson<W> {
    out: Out<W>,
    line: Vec<u8>,
}

impl<W: Write> Ndjson<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Ndjson { out: Out::new(out), line: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out.into_inner()
    }
}

/// The event as a line of JSON.
pub fn json_line(event: &Event) -> Vec<u8> {
    let mut line = Vec::new();
    add_line(&mut line, event);
    line
}

fn add_line(line: &mut Vec<u8>, event: &Event) {
    let string = |line: &mut Vec<u8>, text: &str| {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(line, text);
    };
    line.extend_from_slice(format!("{{\"seq\":{},\"at\":{},\"kind\":", event.seq, event.at).as_bytes());
    string(line, event.body.kind());
    if let Some(step) = &event.step {
        line.extend_from_slice(b",\"step\":");
        string(line, step);
    }
    match event.body.payload() {
        Payload::Json(json) => {
            line.extend_from_slice(b",\"payload\":");
            // What another version wrote may have line ends.
            let one_line = if json.contains(['\n', '\r']) {
                serde_json::from_str::<Value>(&json).unwrap_or_default().to_string()
            } else {
                json
            };
            line.extend_from_slice(one_line.as_bytes());
        }
        Payload::Bytes(bytes) => {
            if let Ok(text) = std::str::from_utf8(&bytes) {
                line.extend_from_slice(b",\"text\":");
                string(line, text);
            } else {
                line.extend_from_slice(b",\"base64\":");
                string(line, &BASE64_STANDARD.encode(&bytes));
            }
        }
    }
    line.extend_from_slice(b"}\n");
}

impl<W: Write + Send> Sink for Ndjson<W> {
    fn event(&mut self, event: &Event) {
        self.line.clear();
        add_line(&mut self.line, event);
        self.out.write(&self.line);
    }

    fn idle(&mut self) {
        self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        event::{Body, Outcome},
        report::story::Story,
    };

    #[test]
    fn events_are_one_json_object_a_line() {
        let mut ndjson = Ndjson::new(Vec::new());
        let story = Story::new(&["a"]).start("a", 1).print("a", "a \"line\"\n");
        story
            .add("a", Body::StepOutput(Bytes::from_static(b"\xff")))
            .end("a", Outcome::Success)
            .tell(&mut ndjson);
        insta::assert_snapshot!(String::from_utf8(ndjson.into_inner()).unwrap(), @r#"
        {"seq":0,"at":1700000000000,"kind":"build.started","payload":{"version":1,"id":"01a203e2","component":"shop","pipeline":"dcd","steps":[{"name":"a","type":"shell","needs":["base"]}],"retry_of":"01a203e1"}}
        {"seq":1,"at":1700000001000,"kind":"build.numbered","payload":{"number":7,"by":"journal"}}
        {"seq":2,"at":1700000002000,"kind":"attempt.started","step":"a","payload":{"attempt":1}}
        {"seq":3,"at":1700000003000,"kind":"step.output","step":"a","text":"a \"line\"\n"}
        {"seq":4,"at":1700000004000,"kind":"step.output","step":"a","base64":"/w=="}
        {"seq":5,"at":1700000005000,"kind":"attempt.finished","step":"a","payload":{"attempt":1,"outcome":"success","exit_code":0,"duration_ms":1200}}
        {"seq":6,"at":1700000006000,"kind":"step.finished","step":"a","payload":{"outcome":"success","conclusion":"success","attempts":1}}
        "#);
    }
}
