//! A build as a part of a distributed trace, by W3C Trace Context.
//!
//! The ids come from the build's own id, so that whoever knows the build knows its spans: the runner that hands them
//! to processes, and the observer that sends them.

use serde::Serialize;

/// The build's place in a trace. As JSON it is what observers are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// The build's span: 16 hexadecimal digits.
    pub span_id: String,
    /// The span that the build is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// What other systems add to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    #[serde(skip)]
    flags: String,
    #[serde(skip)]
    build: String,
}

impl Trace {
    /// The trace of a build, whose id is a UUID. `parent` and `state` are the values of `TRACEPARENT` and
    /// `TRACESTATE`; a parent that is wrong is none, as the standard wants it.
    pub fn new(build: &str, parent: Option<&str>, state: Option<&str>) -> Self {
        let parent = parent.and_then(parse);
        let (trace_id, parent_span_id, flags) = match parent {
            Some((trace, span, flags)) => (trace.to_owned(), Some(span.to_owned()), flags.to_owned()),
            None => (build.replace('-', ""), None, "01".to_owned()),
        };
        let state = state.filter(|state| parent.is_some() && !state.is_empty());
        Trace {
            trace_id,
            span_id: span(build),
            parent_span_id,
            trace_state: state.map(str::to_owned),
            flags,
            build: build.to_owned(),
        }
    }

    /// `TRACEPARENT` for the process of a step's attempt.
    pub fn of_attempt(&self, step: &str, attempt: u32) -> String {
        let span = span(&format!("{}/{step}/{attempt}", self.build));
        format!("00-{}-{span}-{}", self.trace_id, self.flags)
    }
}

/// FNV-1a, 64 bits.
fn span(of: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", of.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// Trace id, span id and flags.
fn parse(parent: &str) -> Option<(&str, &str, &str)> {
    let mut parts = parent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let id = |text: &str, length| hex(text, length) && text.bytes().any(|byte| byte != b'0');
    // A later version may have more parts; this one has none.
    let whole = version != "00" || parts.next().is_none();
    (hex(version, 2) && version != "ff" && id(trace, 32) && id(span, 16) && hex(flags, 2) && whole)
        .then_some((trace, span, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "01a203e2-7a61-7000-8000-000000000001";

    #[test]
    fn a_build_begins_its_own_trace() {
        let trace = Trace::new(BUILD, None, Some("vendor=1"));
        assert_eq!(trace.trace_id, "01a203e27a6170008000000000000001");
        assert_eq!((&trace.parent_span_id, &trace.trace_state), (&None, &None));
        let handed = trace.of_attempt("test", 2);
        assert_eq!(parse(&handed), Some((&*trace.trace_id, &handed[36..52], "01")));
        assert_ne!(handed, trace.of_attempt("test", 1));
    }

    #[test]
    fn a_build_goes_on_with_a_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let trace = Trace::new(BUILD, Some(parent), Some("vendor=1"));
        assert_eq!(trace.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent_span_id.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!(trace.trace_state.as_deref(), Some("vendor=1"));
        assert!(trace.of_attempt("test", 1).ends_with("-00"), "not sampled is not sampled");
    }

    #[test]
    fn a_wrong_parent_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes").is_some());
    }
}
