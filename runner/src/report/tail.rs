//! The last of what a step printed.

/// How much is kept of a step's output, unless somebody wants less, and how many lines of it are shown.
const BYTES: usize = 1 << 20;
const LINES: usize = 2000;
/// How far back the last lines are looked for while a step runs.
const GLANCE: usize = 16 << 10;

/// Keeps the end of what is added: at a copy's price for each byte, as lines are only looked for when shown.
pub(super) struct Tail {
    /// How much is kept.
    limit: usize,
    bytes: Vec<u8>,
    /// How many bytes were dropped.
    dropped: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Tail::of(BYTES)
    }
}

impl Tail {
    /// Keeps that many bytes.
    pub(super) fn of(limit: usize) -> Self {
        Tail { limit, bytes: Vec::new(), dropped: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Dropping in large pieces moves each byte at most once more.
        if self.bytes.len() + bytes.len() > 2 * self.limit {
            let keep = self.limit.saturating_sub(bytes.len());
            let drop = self.bytes.len().saturating_sub(keep);
            self.bytes.drain(..drop);
            self.dropped += drop as u64;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Nothing follows: frees what was kept to grow.
    pub(super) fn shrink(&mut self) {
        let drop = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..drop);
        self.dropped += drop as u64;
        self.bytes.shrink_to_fit();
    }

    /// The last lines as far as they are kept, and whether that is all there was.
    pub(super) fn end(&self) -> (&[u8], bool) {
        let mut from = self.bytes.len().saturating_sub(self.limit);
        if from > 0 || self.dropped > 0 {
            // What is left of the line that was cut.
            from += memchr::memchr(b'\n', &self.bytes[from..]).map_or(0, |end| end + 1);
        }
        let rest = &self.bytes[from..];
        let before_last = rest.len().saturating_sub(1);
        if let Some(end) = memchr::memrchr_iter(b'\n', &rest[..before_last]).nth(LINES - 1) {
            from += end + 1;
        }
        (&self.bytes[from..], from == 0 && self.dropped == 0)
    }

    /// The last lines with something in them, at most `count`, the oldest first: as text that drives no terminal.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let recent = &self.bytes[self.bytes.len().saturating_sub(GLANCE)..];
        let lines = recent.rsplit(|byte| *byte == b'\n').map(visible).filter(|line| !line.is_empty());
        let mut lines: Vec<_> = lines.take(count).collect();
        lines.reverse();
        lines
    }
}

/// What a terminal would show of a line: the last of what returns to its start, without colours.
fn visible(line: &[u8]) -> String {
    let mut parts = line.rsplit(|byte| *byte == b'\r');
    let last = parts.find(|part| !part.is_empty()).unwrap_or_default();
    let text = crate::text::harmless_line(&without_escapes(&String::from_utf8_lossy(last)));
    text.replace('\t', "    ").trim_end().to_owned()
}

/// Without control sequences, as they set colours (ECMA-48: `ESC [`, parameters, a final byte).
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| ('\x40'..='\x7e').contains(&c));
        out.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_those_a_terminal_would_show() {
        let mut tail = Tail::default();
        tail.push(b"one\n\x1b[1;32mtwo\x1b[0m\r\n\n10%\r20%\r");
        assert_eq!(tail.last_lines(9), ["one", "two", "20%"]);
        assert_eq!(tail.last_lines(1), ["20%"]);
        tail.push(b"\x1b]0;title\x07\xff\tx");
        assert_eq!(tail.last_lines(1), ["\\x1b]0;title\\x07\u{fffd}    x"]);
    }

    #[test]
    fn all_of_a_short_output_is_kept() {
        let mut tail = Tail::default();
        tail.push(b"a\nb");
        assert_eq!(tail.end(), (&b"a\nb"[..], true));
    }

    #[test]
    fn at_most_so_many_lines_are_shown() {
        let mut tail = Tail::default();
        for line in 0..=LINES {
            tail.push(format!("{line}\n").as_bytes());
        }
        let (end, whole) = tail.end();
        assert!(end.starts_with(b"1\n2\n") && end.ends_with(b"2000\n") && !whole);
    }

    #[test]
    fn memory_is_bounded_and_the_cut_is_at_a_line() {
        let mut tail = Tail::default();
        let line = [&[b'x'; 4095][..], b"\n"].concat();
        for _ in 0..2000 {
            tail.push(&line);
            assert!(tail.bytes.len() <= 2 * BYTES);
        }
        let (end, whole) = tail.end();
        assert!(!whole && end.len() <= BYTES && end.len() % 4096 == 0 && end.len() > BYTES / 2);
        tail.push(&vec![b'y'; 3 * BYTES]);
        assert!(tail.end().0.len() <= BYTES);
    }
}
