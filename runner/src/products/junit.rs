//! Reading test reports in `JUnit`'s XML, which has no standard but many dialects.
//!
//! Tolerant: suites may be nested or missing, unknown elements and attributes are passed over, what is no UTF-8
//! is replaced. No entity but XML's own five is known, so nothing outside of the file is read.

use std::{borrow::Cow, io::BufRead};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesRef, BytesStart, Event},
};

use crate::{
    event::{Outcome, TestCase},
    text,
};

/// How much of a message is kept.
const MESSAGE: usize = 2 << 10;
/// How much of a name is kept: those of parameterised tests may hold their parameters.
const NAME: usize = 1 << 10;

/// Why a report, or the rest of one, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    /// It is some other XML.
    #[error("it begins with <{0}>, and not with <testsuites> or <testsuite>")]
    Other(String),
    /// It has no element at all.
    #[error("it has no XML in it")]
    Empty,
    /// It is cut, or was never XML.
    #[error("its XML is broken at byte {at}: {why}")]
    Broken {
        /// How far it is right.
        at: u64,
        /// What is wrong there.
        why: String,
    },
}

/// Gives all tests of the report to `each`, until that answers that it wants no more.
pub(super) fn read(report: impl BufRead, each: &mut dyn FnMut(TestCase) -> bool) -> Result<(), ReportError> {
    let mut reader = Reader::from_reader(report);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    let mut walk = Walk { reader, buffer: Vec::new(), skipped: Vec::new() };
    match walk.document(each) {
        Ok(()) | Err(Stopped::Enough) => Ok(()),
        Err(Stopped::Error(error)) => Err(error),
    }
}

struct Walk<R> {
    reader: Reader<R>,
    buffer: Vec<u8>,
    skipped: Vec<u8>,
}

enum Stopped {
    Enough,
    Error(ReportError),
}

/// What an element is to us.
enum Element {
    Suite(String),
    Case(TestCase),
    Verdict(Outcome, String),
    Other,
}

/// What the walk does next.
enum Turn {
    Open(Element),
    Text(String),
    Close,
    End,
    Nothing,
}

impl<R: BufRead> Walk<R> {
    fn document(&mut self, each: &mut dyn FnMut(TestCase) -> bool) -> Result<(), Stopped> {
        let mut suites = Vec::new();
        let mut begun = false;
        loop {
            match self.turn()? {
                Turn::Open(Element::Suite(name)) => {
                    suites.push(name);
                    begun = true;
                }
                Turn::Open(Element::Case(mut case)) if begun => {
                    if case.suite.is_empty() {
                        case.suite = suites.last().cloned().unwrap_or_default();
                    }
                    let case = self.case(case)?;
                    if !each(case) {
                        return Err(Stopped::Enough);
                    }
                }
                Turn::Open(_) if begun => self.skip()?,
                Turn::Open(_) => return Err(self.other_root()),
                Turn::Close => {
                    suites.pop();
                }
                Turn::End if !begun => return Err(Stopped::Error(ReportError::Empty)),
                Turn::End if !suites.is_empty() => return Err(self.broken("it ends too soon")),
                Turn::End => return Ok(()),
                Turn::Text(_) | Turn::Nothing => {}
            }
        }
    }

    /// The rest of a test: the first thing that is said against it counts.
    fn case(&mut self, mut case: TestCase) -> Result<TestCase, Stopped> {
        loop {
            match self.turn()? {
                Turn::Open(Element::Verdict(outcome, message)) => {
                    let text = self.text()?;
                    if case.outcome == Outcome::Success {
                        case.outcome = outcome;
                        case.message = joined(&message, &text);
                    }
                }
                Turn::Open(_) => self.skip()?,
                Turn::Close => return Ok(case),
                Turn::End => return Err(self.broken("it ends too soon")),
                Turn::Text(_) | Turn::Nothing => {}
            }
        }
    }

    /// The text up to the end of the element, as far as it is kept.
    fn text(&mut self) -> Result<String, Stopped> {
        let mut all = String::new();
        loop {
            match self.turn()? {
                Turn::Text(text) if all.len() < MESSAGE => all.push_str(&text),
                Turn::Open(_) => self.skip()?,
                Turn::Close => return Ok(all),
                Turn::End => return Err(self.broken("it ends too soon")),
                Turn::Text(_) | Turn::Nothing => {}
            }
        }
    }

    /// Passes over the rest of the element that `turn` opened.
    fn skip(&mut self) -> Result<(), Stopped> {
        let mut depth = 1_u32;
        while depth > 0 {
            match self.turn()? {
                Turn::Open(_) => depth += 1,
                Turn::Close => depth -= 1,
                Turn::End => return Err(self.broken("it ends too soon")),
                Turn::Text(_) | Turn::Nothing => {}
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn, Stopped> {
        self.buffer.clear();
        let turn = match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::Start(start)) => {
                self.skipped = start.local_name().as_ref().to_vec();
                Turn::Open(element(&start))
            }
            Ok(Event::End(_)) => Turn::Close,
            Ok(Event::Text(text)) => Turn::Text(String::from_utf8_lossy(&text).into_owned()),
            Ok(Event::CData(text)) => Turn::Text(String::from_utf8_lossy(&text).into_owned()),
            Ok(Event::GeneralRef(reference)) => Turn::Text(resolved(&reference)),
            Ok(Event::Eof) => Turn::End,
            Ok(Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {
                Turn::Nothing
            }
            Err(error) => return Err(self.broken(&error.to_string())),
        };
        Ok(turn)
    }

    fn broken(&self, why: &str) -> Stopped {
        let at = self.reader.error_position().max(self.reader.buffer_position());
        Stopped::Error(ReportError::Broken { at, why: why.to_owned() })
    }

    fn other_root(&self) -> Stopped {
        let name = String::from_utf8_lossy(&self.skipped);
        Stopped::Error(ReportError::Other(text::clip(&name, 80).to_owned()))
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    match start.local_name().as_ref() {
        b"testsuites" | b"testsuite" | b"testrun" => Element::Suite(attribute(start, "name")),
        b"testcase" => Element::Case(TestCase {
            suite: clipped(attribute(start, "classname")),
            name: clipped(attribute(start, "name")),
            outcome: match attribute(start, "status").as_str() {
                // Google Test's word for a test that is disabled.
                "notrun" => Outcome::Skip,
                _ => Outcome::Success,
            },
            duration_ms: millis(&attribute(start, "time")),
            message: None,
        }),
        b"failure" => Element::Verdict(Outcome::Failure, message(start)),
        b"error" => Element::Verdict(Outcome::Error, message(start)),
        b"skipped" => Element::Verdict(Outcome::Skip, message(start)),
        // Also `flakyFailure` and `rerunFailure`: they tell of other tries than the one that counts.
        _ => Element::Other,
    }
}

fn message(start: &BytesStart<'_>) -> String {
    let message = attribute(start, "message");
    if message.is_empty() { attribute(start, "type") } else { message }
}

/// What the attribute says; empty when there is none.
fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    let Some(found) = attributes.flatten().find(|one| one.key.local_name().as_ref() == name.as_bytes())
    else {
        return String::new();
    };
    let normal = found.normalized_value(XmlVersion::Implicit1_0);
    // What is no XML is shown as it stands.
    normal.unwrap_or_else(|_| String::from_utf8_lossy(&found.value)).into_owned()
}

fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = String::from_utf8_lossy(reference);
    let known = quick_xml::escape::resolve_xml_entity(&name);
    known.map_or_else(|| format!("&{name};"), str::to_owned)
}

fn clipped(mut name: String) -> String {
    name.truncate(text::clip(&name, NAME).len());
    name
}

/// The message, and below it what it does not say itself.
fn joined(message: &str, text: &str) -> Option<String> {
    let (message, text) = (message.trim(), text.trim());
    let whole: Cow<'_, str> = match (message, text) {
        ("", text) => text.into(),
        (message, "") => message.into(),
        (message, text) if text.starts_with(message) => text.into(),
        (message, text) => format!("{message}\n{text}").into(),
    };
    let cut = text::clip(&whole, MESSAGE);
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// Seconds as reports write them: `1.5`, `1,234.5`, and in some languages `0,5`.
fn millis(seconds: &str) -> Option<u64> {
    let plain = match seconds.trim().split_once(',') {
        Some((whole, rest)) if !rest.contains(['.', ',']) && (rest.len() != 3 || whole == "0") => {
            format!("{whole}.{rest}")
        }
        _ => seconds.trim().replace(',', ""),
    };
    let seconds: f64 = plain.parse().ok()?;
    let time = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each test as a line, and the error if there is one.
    fn cases(report: &str) -> String {
        let mut lines = Vec::new();
        let end = read(report.as_bytes(), &mut |case| {
            let took = case.duration_ms.map_or_else(String::new, |took| format!(" {took}ms"));
            let message = case.message.map_or_else(String::new, |message| format!(" {message:?}"));
            lines.push(format!("{}: {} {}{took}{message}", case.suite, case.name, case.outcome));
            true
        });
        lines.extend(end.err().map(|error| error.to_string()));
        lines.join("\n")
    }

    #[test]
    fn the_dialects() {
        let nextest = r#"<?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="run" tests="3" time="0.1">
              <testsuite name="shop::it" tests="3">
                <testcase name="fast" classname="shop::it" time="0.012"><system-out>a &lt; b</system-out></testcase>
                <testcase name="flaky" classname="shop::it" time="1">
                  <flakyFailure message="first try" type="test failure">no<system-err>x</system-err></flakyFailure>
                </testcase>
                <testcase name="bad" classname="shop::it">
                  <failure message="thread panicked" type="test failure with exit code 101">at line 3</failure>
                  <rerunFailure>again</rerunFailure>
                </testcase>
              </testsuite>
            </testsuites>"#;
        insta::assert_snapshot!(cases(nextest), @r#"
        shop::it: fast success 12ms
        shop::it: flaky success 1000ms
        shop::it: bad failure "thread panicked\nat line 3"
        "#);
        let surefire = r#"<testsuite xmlns:xsi="x" name="com.Shop" time="1,234.5"><properties><property name="a" value="b"/></properties>
            <testcase name="adds" classname="com.Shop" time="1,234.567"/>
            <testcase name="throws" time="0,005"><error type="java.lang.Error"><![CDATA[at <init> & so on]]></error></testcase>
            <testcase name="later"><skipped/></testcase>
            <testcase name="never"><skipped message="not on &quot;Linux&quot; &#38; co"/></testcase></testsuite>"#;
        insta::assert_snapshot!(cases(surefire), @r#"
        com.Shop: adds success 1234567ms
        com.Shop: throws error 5ms "java.lang.Error\nat <init> & so on"
        com.Shop: later skip
        com.Shop: never skip "not on \"Linux\" & co"
        "#);
        let nested = r#"<testsuites><testsuite name="outer"><testsuite name="inner"><testcase name="a"/></testsuite>
            <testcase name="b" status="notrun"/></testsuite><testcase name="c" time="-1"/></testsuites>"#;
        insta::assert_snapshot!(cases(nested), @r"
        inner: a success
        outer: b skip
        : c success
        ");
    }

    #[test]
    fn what_is_no_report_is_said_so() {
        let cases = [
            ("", "it has no XML in it"),
            ("ok 1 - a\nok 2 - b\n", "it has no XML in it"),
            ("<html><body/></html>", "it begins with <html>, and not with <testsuites> or <testsuite>"),
            ("<testcase name='a'/>", "it begins with <testcase>, and not with <testsuites> or <testsuite>"),
        ]
        .map(|(report, expected)| (cases(report), expected));
        for (said, expected) in cases {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn of_a_report_that_is_cut_what_is_there_counts() {
        insta::assert_snapshot!(cases("<testsuite name='s'><testcase name='a'/><testcase name='b'><fail"), @r"
        s: a success
        its XML is broken at byte 64: syntax error: tag not closed: `>` not found before end of input
        ");
        insta::assert_snapshot!(cases("<testsuite name='s'><testcase name='a'/>"), @r"
        s: a success
        its XML is broken at byte 40: it ends too soon
        ");
    }

    #[test]
    fn entities_lead_nowhere() {
        let report = r#"<?xml version="1.0"?><!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY y "yyy">]>
            <testsuite name="&x;"><testcase name="a"><failure message="&x;">&x;&y;&amp;</failure></testcase></testsuite>"#;
        insta::assert_snapshot!(cases(report), @r#"&x;: a failure "&x;&y;&""#);
    }

    #[test]
    fn messages_and_names_are_bounded() {
        let long = "ö".repeat(4000);
        let report =
            format!("<testsuite><testcase name='{long}'><failure>{long}</failure></testcase></testsuite>");
        read(report.as_bytes(), &mut |case| {
            assert_eq!((case.name.len(), case.message.unwrap().len()), (NAME, MESSAGE));
            true
        })
        .unwrap();
    }

    #[test]
    fn seconds() {
        let cases = [("1.5", Some(1500)), ("1,234,567.5", Some(1_234_567_500)), ("12,345", Some(12_345_000))];
        let odd = [
            ("", None),
            ("NaN", None),
            ("-0.1", None),
            ("0,005", Some(5)),
            ("2,5", Some(2500)),
            ("1e400", None),
        ];
        for (seconds, expected) in cases.into_iter().chain(odd) {
            assert_eq!(millis(seconds), expected, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(report in "(<testsuite>|<testcase name='a' time='1,0'>|</testcase>|<failure message='&x;'|>|/>|<!\\[CDATA\\[|]]>|&|&#0;|\\PC|<!DOCTYPE ){0,40}") {
            cases(&report);
            cases(&format!("<testsuite>{report}"));
        }
    }
}
