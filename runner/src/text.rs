//! Text for people: durations, times, and strings from others made harmless for a terminal.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;

use crate::event::UnixMs;

/// A duration as a person says it: `340ms`, `1.2s`, `2m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{}.{}s", seconds, millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// [`duration`] of milliseconds.
pub fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// A point in time after RFC 3339, UTC, to the millisecond.
pub fn rfc3339(at: UnixMs) -> String {
    let timestamp = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    timestamp.map_or_else(|| format!("{at}ms"), |timestamp| format!("{timestamp:.3}"))
}

/// The text, or as much of its start as fits into `max` bytes.
pub fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that such text stands for; `None` when it is no hex.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The bytes without what could drive a terminal: control characters but line ends and tabs become `\x1b` and
/// the like, and C1 controls, also in UTF-8, too.
pub fn harmless(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_c1 = |pair: &[u8]| matches!(pair, [0xc2, 0x80..=0x9f]);
    // The first half of one, whose second half may come with the next piece.
    let is_cut = |rest: &[u8]| rest == [0xc2];
    let bad = |byte: u8| (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    if !bytes.iter().any(|byte| bad(*byte)) && !bytes.windows(2).any(is_c1) && bytes.last() != Some(&0xc2) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        if rest.get(..2).is_some_and(is_c1) {
            out.extend_from_slice(format!("\\u{{{:x}}}", rest[1]).as_bytes());
            rest = &rest[2..];
            continue;
        }
        // A carriage return before a line end does nothing but end the line.
        let line_end = *byte == b'\r' && tail.first() == Some(&b'\n');
        if (bad(*byte) && !line_end) || is_cut(rest) {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            out.push(*byte);
        }
        rest = tail;
    }
    Cow::Owned(out)
}

/// [`harmless`] for text that stays on one line.
pub fn harmless_line(text: &str) -> String {
    let text = String::from_utf8_lossy(&harmless(text.as_bytes())).into_owned();
    text.replace('\n', " ")
}

/// Every error with its causes, as one sentence: `cannot open x: no such file`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors already say their cause.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let said: Vec<_> = [0, 999, 1000, 59_999, 60_000, 3_599_000, 3_600_000, 90_000_000]
            .into_iter()
            .map(millis)
            .collect();
        assert_eq!(said, ["0ms", "999ms", "1.0s", "59.9s", "1m00s", "59m59s", "1h00m", "25h00m"]);
    }

    #[test]
    fn times_follow_rfc_3339() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(1_700_000_000_000), "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn escape_sequences_are_shown_and_not_obeyed() {
        let shown = harmless(b"a\x1b[31mred\r\n\tb\x07\rover \xc2\x9b31m \xff\n");
        assert_eq!(shown.as_ref(), b"a\\x1b[31mred\r\n\tb\\x07\\x0dover \\u{9b}31m \xff\n");
        assert_eq!(harmless(b"x\xc2").as_ref(), b"x\\xc2");
        assert!(matches!(harmless("plain äöü\n".as_bytes()), Cow::Borrowed(_)));
    }
}
