//! Masking what a step prints, piece by piece.

use bytes::{Bytes, BytesMut};

use super::{MASK, Redactor};

/// A line that begins with it names a value to be masked from then on: GitHub's convention.
const MARKER: &[u8] = b"::add-mask::";

/// More than this of a marker's value is not kept.
const MAX_VALUE: usize = 64 << 10;

/// The output of one step. Cut into pieces in whatever way, it comes out as if it were in one.
#[derive(Debug, Default)]
pub struct Stream {
    line: Line,
    mask: Tail,
}

/// Where in a line the pieces so far end.
#[derive(Debug)]
enum Line {
    /// So many bytes of the marker have been read since the line's start; they are held back.
    Start(usize),
    /// Somewhere in a line that has no marker.
    Middle,
    /// In the value behind a marker.
    Value(Vec<u8>),
}

impl Default for Line {
    fn default() -> Self {
        Line::Start(0)
    }
}

impl Stream {
    /// Takes a piece, and gives what can be shown by now. A value that a line of the step names is added to
    /// `redactor`. With nothing to mask the piece is given back as it is.
    pub fn push(&mut self, redactor: &mut Redactor, piece: Bytes) -> Bytes {
        let mut out = Out::default();
        let mut rest = piece;
        while !rest.is_empty() {
            rest = self.step(redactor, rest, &mut out);
        }
        out.joined()
    }

    /// Gives what was held back.
    pub fn finish(&mut self, redactor: &mut Redactor) -> Bytes {
        let mut out = Out::default();
        match std::mem::take(&mut self.line) {
            Line::Start(read) => out.push(self.mask.push(redactor, Bytes::from_static(&MARKER[..read]))),
            Line::Middle => {}
            Line::Value(value) => self.end_value(redactor, &value, &mut out),
        }
        out.push(self.mask.finish(redactor));
        out.joined()
    }

    /// Takes some of `rest`, and gives what is left of it.
    fn step(&mut self, redactor: &mut Redactor, mut rest: Bytes, out: &mut Out) -> Bytes {
        match std::mem::replace(&mut self.line, Line::Middle) {
            Line::Start(read) => {
                let wanted = &MARKER[read..];
                let common = wanted.len().min(rest.len());
                if rest[..common] != wanted[..common] {
                    if read > 0 {
                        out.push(self.mask.push(redactor, Bytes::from_static(&MARKER[..read])));
                    }
                    return rest;
                }
                let _ = rest.split_to(common);
                self.line =
                    if common < wanted.len() { Line::Start(read + common) } else { Line::Value(Vec::new()) };
                rest
            }
            Line::Middle => {
                let (text, line) = next_marker(&rest);
                self.line = line;
                let end = text + if let Line::Start(read) = self.line { read } else { 0 };
                out.push(self.mask.push(redactor, rest.split_to(text)));
                // What is held back is the marker's own bytes.
                rest.split_off(end - text)
            }
            Line::Value(mut value) => {
                let end = memchr::memchr(b'\n', &rest).unwrap_or(rest.len());
                let room = MAX_VALUE.saturating_sub(value.len());
                value.extend_from_slice(&rest[..end.min(room)]);
                if end == rest.len() {
                    self.line = Line::Value(value);
                    return Bytes::new();
                }
                self.end_value(redactor, &value, out);
                rest.split_off(end)
            }
        }
    }

    fn end_value(&mut self, redactor: &mut Redactor, value: &[u8], out: &mut Out) {
        out.push(self.mask.finish(redactor));
        out.push(Bytes::from_static(MARKER));
        let (value, end) = match value.strip_suffix(b"\r") {
            Some(value) => (value, "\r"),
            None => (value, ""),
        };
        out.push(Bytes::from_static(MASK.as_bytes()));
        out.push(Bytes::from_static(end.as_bytes()));
        redactor.add(value);
        // Those who know the convention write line ends and percent signs like this.
        let text = String::from_utf8_lossy(value);
        if text.contains('%') {
            redactor.add(text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"));
        }
    }
}

/// Where the next line begins that has a marker, or may have one, and how much of the marker stands there. The text
/// begins within a line.
fn next_marker(text: &[u8]) -> (usize, Line) {
    let at_start = |at: usize| at > 0 && text[at - 1] == b'\n';
    if let Some(at) = memchr::memmem::find_iter(text, MARKER).find(|at| at_start(*at)) {
        return (at, Line::Start(0));
    }
    for read in (0..MARKER.len().min(text.len())).rev() {
        let at = text.len() - read;
        if at_start(at) && text[at..] == MARKER[..read] {
            return (at, Line::Start(read));
        }
    }
    (text.len(), Line::Middle)
}

/// Masks text in pieces, and holds back what may be the start of a secret.
#[derive(Debug, Default)]
struct Tail {
    held: BytesMut,
    /// So many of the held bytes belong to a secret for which a mask was given out.
    masked: usize,
}

impl Tail {
    fn push(&mut self, redactor: &Redactor, piece: Bytes) -> Bytes {
        if self.held.is_empty() {
            if redactor.is_empty() {
                return piece;
            }
            let (shown, rest) = self.mask(redactor, &piece, false);
            self.held.extend_from_slice(&piece[rest..]);
            return shown.unwrap_or_else(|| piece.slice(..rest));
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(&piece);
        let (shown, rest) = self.mask(redactor, &text, false);
        self.held = text.split_off(rest);
        shown.unwrap_or_else(|| text.freeze())
    }

    fn finish(&mut self, redactor: &Redactor) -> Bytes {
        let text = std::mem::take(&mut self.held);
        let (shown, _) = self.mask(redactor, &text, true);
        shown.unwrap_or_else(|| text.freeze())
    }

    /// What of `text` can be shown (`None`: what is not held, as it is), and where the rest begins that is held.
    fn mask(&mut self, redactor: &Redactor, text: &[u8], last: bool) -> (Option<Bytes>, usize) {
        let found = redactor.found(text);
        let rest = if last { text.len() } else { redactor.open_end(text) };
        let masked_before = std::mem::take(&mut self.masked);
        if masked_before == 0 && found.first().is_none_or(|first| first.start >= rest) {
            return (None, rest);
        }
        let mut shown = BytesMut::with_capacity(text.len());
        let mut at = masked_before;
        for range in found.into_iter().take_while(|range| range.start < rest) {
            // What overlaps the secret whose mask was given out has the same mask.
            if range.start >= masked_before {
                shown.extend_from_slice(&text[at..range.start]);
                shown.extend_from_slice(MASK.as_bytes());
            }
            at = at.max(range.end);
        }
        if at < rest {
            shown.extend_from_slice(&text[at..rest]);
        }
        self.masked = at.saturating_sub(rest);
        (Some(shown.freeze()), rest)
    }
}

/// Pieces that are to be one; a single one is not copied.
#[derive(Default)]
struct Out {
    pieces: Vec<Bytes>,
}

impl Out {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn joined(mut self) -> Bytes {
        if self.pieces.len() > 1 {
            return self.pieces.concat().into();
        }
        self.pieces.pop().unwrap_or_default()
    }
}
