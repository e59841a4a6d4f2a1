//! What came of a case, beside what should have come of it.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::fake::fits;
use crate::{
    pipeline::{End, Expect, WORKSPACE, Wanted, WantedRequest},
    text::clip,
};

/// How many lines of a text are shown where it is not as it should be, and how long a line.
const LINES: usize = 20;
const LINE: usize = 300;

/// What came of a case. Texts have `$WORKSPACE` where the workspace's path was.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) end: End,
    pub(super) outputs: BTreeMap<String, Value>,
    pub(super) summary: String,
    /// What it printed.
    pub(super) output: String,
    /// What was wrong, and what to do.
    pub(super) problem: String,
    /// `level: message`, a line each.
    pub(super) log: String,
    pub(super) commands: Vec<String>,
    /// Method and URL, and body.
    pub(super) requests: Vec<(String, String)>,
}

/// What is not as it should be. Files are looked for in `workspace`.
pub(super) fn compare(expect: &Expect, got: &Got, workspace: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    if got.end != expect.end {
        wrong.push(format!("outcome: got {}, expected {}", word(got.end), word(expect.end)));
        if expect.problem.is_none() && !got.problem.is_empty() {
            wrong.push(indented("", &got.problem));
        }
    }
    if let Some(outputs) = &expect.outputs {
        wrong.extend(compare_outputs(outputs, &got.outputs));
    }
    for (name, wanted, text) in [
        ("summary", &expect.summary, &got.summary),
        ("output", &expect.output, &got.output),
        ("problem", &expect.problem, &got.problem),
        ("log", &expect.log, &got.log),
    ] {
        wrong.extend(wanted.as_ref().and_then(|wanted| compare_text(name, wanted, text)));
    }
    for (path, wanted) in &expect.files {
        wrong.extend(compare_file(path, wanted.as_ref(), workspace));
    }
    if let Some(commands) = &expect.commands {
        let is_same = commands.len() == got.commands.len()
            && commands.iter().zip(&got.commands).all(|(pattern, run)| fits(pattern, run));
        wrong.extend((!is_same).then(|| differ("commands", &got.commands, commands)));
    }
    if let Some(requests) = &expect.requests {
        wrong.extend(compare_requests(requests, &got.requests));
    }
    wrong
}

fn word(end: End) -> &'static str {
    match end {
        End::Refused => "refused",
        End::Outcome(outcome) => outcome.as_str(),
    }
}

fn compare_outputs(expected: &Value, got: &BTreeMap<String, Value>) -> Vec<String> {
    let none = Map::new();
    let expected = expected.as_object().unwrap_or(&none);
    let mut wrong = Vec::new();
    for (name, value) in expected {
        wrong.extend(match got.get(name) {
            Some(given) if given == value => None,
            Some(given) => {
                Some(format!("outputs.{name}: got {}, expected {value}", clipped(&given.to_string())))
            }
            None => Some(format!("outputs.{name}: not given, expected {value}")),
        });
    }
    for (name, given) in got.iter().filter(|(name, _)| !expected.contains_key(*name)) {
        wrong.push(format!("outputs.{name}: got {}, which is not expected", clipped(&given.to_string())));
    }
    wrong
}

fn compare_text(name: &str, wanted: &Wanted, got: &str) -> Option<String> {
    match wanted {
        Wanted::Text(text) => {
            let (expected, got) = (bare(text), bare(got));
            let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
            (expected != got).then(|| differ(name, &lines(got), &lines(expected)))
        }
        Wanted::Contains(parts) => {
            let missing: Vec<_> = parts.iter().filter(|part| !got.contains(part.as_str())).collect();
            if missing.is_empty() {
                return None;
            }
            let missing: Vec<_> = missing.iter().map(|part| format!("{part:?}")).collect();
            let got = if bare(got).is_empty() { "  (nothing)".to_owned() } else { indented("  ", got) };
            Some(format!("{name}: {} is not in it; it is\n{got}", missing.join(" or ")))
        }
    }
}

/// A line end at the end is no difference.
fn bare(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn compare_file(path: &str, wanted: Option<&Wanted>, workspace: &Path) -> Option<String> {
    let text = std::fs::read(workspace.join(path));
    match (text, wanted) {
        (Ok(bytes), Some(wanted)) => {
            compare_text(path, wanted, &in_workspace(&String::from_utf8_lossy(&bytes), workspace))
        }
        (Ok(_), None) => Some(format!("{path}: the file is there, and should not be")),
        (Err(_), None) => None,
        (Err(error), Some(_)) => Some(format!("{path}: the file cannot be read: {error}")),
    }
}

fn compare_requests(expected: &[WantedRequest], got: &[(String, String)]) -> Vec<String> {
    let fit = |(wanted, (request, _)): (&WantedRequest, &(String, String))| fits(&wanted.request, request);
    if expected.len() != got.len() || !expected.iter().zip(got).all(fit) {
        let got: Vec<_> = got.iter().map(|(request, _)| request.clone()).collect();
        let expected: Vec<_> = expected.iter().map(|wanted| wanted.request.clone()).collect();
        return vec![differ("requests", &got, &expected)];
    }
    let bodies = expected.iter().zip(got);
    let compared = bodies.filter_map(|(wanted, (request, body))| {
        compare_text(&format!("the body of {request}"), wanted.body.as_ref()?, body)
    });
    compared.collect()
}

/// The text with `$WORKSPACE` for the workspace's path.
pub(super) fn in_workspace(text: &str, workspace: &Path) -> String {
    text.replace(&*workspace.to_string_lossy(), WORKSPACE)
}

/// The lines that differ: `-` is expected, `+` is what came.
fn differ(name: &str, got: &[String], expected: &[String]) -> String {
    let start = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    let (got, expected) = (&got[start..], &expected[start..]);
    let end =
        got.iter().rev().zip(expected.iter().rev()).take_while(|(got, expected)| got == expected).count();
    let (got, expected) = (&got[..got.len() - end], &expected[..expected.len() - end]);
    let mut shown = format!("{name}: not as expected (-)");
    if start > 0 {
        shown.push_str(&format!(", from line {} on", start + 1));
    }
    for (sign, lines) in [('-', expected), ('+', got)] {
        for line in lines.iter().take(LINES) {
            shown.push_str(&format!("\n  {sign} {}", clipped(line)));
        }
        if lines.len() > LINES {
            shown.push_str(&format!("\n  {sign} … {} more lines", lines.len() - LINES));
        }
    }
    shown
}

fn indented(indent: &str, text: &str) -> String {
    let lines: Vec<_> = bare(text).lines().collect();
    let mut shown: Vec<_> =
        lines.iter().take(LINES).map(|line| format!("{indent}{}", clipped(line))).collect();
    if lines.len() > LINES {
        shown.push(format!("{indent}… {} more lines", lines.len() - LINES));
    }
    shown.join("\n")
}

fn clipped(line: &str) -> String {
    let short = clip(line, LINE);
    if short.len() < line.len() { format!("{short}…") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{event::Outcome, pipeline::parse_cases};

    /// What is wrong by a case's `expect`.
    fn wrong(expect: &Value, got: &Got) -> String {
        let file = json!([{ "name": "a case", "expect": expect }]).to_string();
        let cases = parse_cases(&file, "cases.json").unwrap();
        compare(&cases[0].expect, got, Path::new("/no/such")).join("\n")
    }

    fn got() -> Got {
        Got {
            outputs: BTreeMap::from([("status".to_owned(), json!(404)), ("more".to_owned(), json!("x"))]),
            summary: "done".to_owned(),
            output: "one\ntwo\nthree\nfour\n".to_owned(),
            log: "warn: slow\n".to_owned(),
            commands: vec!["helm upgrade shop".to_owned(), "helm status".to_owned()],
            requests: vec![("POST https://a.example/x".to_owned(), "{\"text\":\"hi\"}".to_owned())],
            ..Got::default()
        }
    }

    #[test]
    fn what_is_as_expected_is_not_told() {
        let expect = json!({
            "outputs": { "status": 404, "more": "x" },
            "summary": "done",
            "output": "one\ntwo\nthree\nfour",
            "log": { "contains": "slow" },
            "commands": ["helm upgrade *", "helm status"],
            "requests": [{ "request": "POST https://a.example/*", "body": { "contains": ["text", "hi"] } }],
            "files": { "gone.txt": null },
        });
        assert_eq!(wrong(&expect, &got()), "");
        assert_eq!(wrong(&json!({}), &got()), "");
    }

    #[test]
    fn outputs_are_compared_one_by_one() {
        insta::assert_snapshot!(wrong(&json!({ "outputs": { "status": 200, "id": 7 } }), &got()), @r#"
        outputs.id: not given, expected 7
        outputs.status: got 404, expected 200
        outputs.more: got "x", which is not expected
        "#);
    }

    #[test]
    fn of_texts_the_lines_that_differ_are_shown() {
        let expect =
            json!({ "output": "one\n2\n3\nfour\n", "summary": { "contains": ["done", "well", "fast"] } });
        insta::assert_snapshot!(wrong(&expect, &got()), @r#"
        summary: "well" or "fast" is not in it; it is
          done
        output: not as expected (-), from line 2 on
          - 2
          - 3
          + two
          + three
        "#);
    }

    #[test]
    fn another_outcome_says_why() {
        let end = End::Outcome(Outcome::Error);
        let got = Got { end, problem: "plugin p: no\nhelp: ask".to_owned(), ..Got::default() };
        insta::assert_snapshot!(wrong(&json!({}), &got), @r"
        outcome: got error, expected success
        plugin p: no
        help: ask
        ");
    }

    #[test]
    fn programs_and_requests_are_all_that_are_expected() {
        let expect =
            json!({ "commands": ["helm upgrade *"], "requests": ["GET *"], "files": { "out.txt": "x" } });
        insta::assert_snapshot!(wrong(&expect, &got()), @r"
        out.txt: the file cannot be read: No such file or directory (os error 2)
        commands: not as expected (-)
          - helm upgrade *
          + helm upgrade shop
          + helm status
        requests: not as expected (-)
          - GET *
          + POST https://a.example/x
        ");
        let expect = json!({ "requests": [{ "request": "POST *", "body": "{}" }] });
        insta::assert_snapshot!(wrong(&expect, &got()), @r#"
        the body of POST https://a.example/x: not as expected (-)
          - {}
          + {"text":"hi"}
        "#);
    }
}
