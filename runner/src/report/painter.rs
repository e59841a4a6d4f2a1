//! Draws the live area at the end of a terminal's text, and lines for good above it.
//!
//! A frame is one write: over the area before it, line by line, so that nothing flickers. `indicatif` does the
//! like, but pads lines with blanks and lets the terminal wrap them, also those printed for good: when the
//! terminal's width changes, they run into each other.

use std::io::Write;

use crate::report::{area, area::Size, out::Out};

pub(super) struct Painter<W> {
    out: Out<W>,
    /// How wide the lines of the area on the screen are. The cursor is at the end of the last.
    drawn: Vec<usize>,
}

impl<W: Write> Painter<W> {
    pub(super) fn new(out: W) -> Self {
        Painter { out: Out::new(out), drawn: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out.into_inner()
    }

    /// Writes `lasting`, whole lines, where the area was, and the area below. The lines of the area may hold
    /// colours, and `size` is that of the terminal.
    pub(super) fn frame(&mut self, lasting: &[u8], area: &[String], size: Size) {
        let mut frame = self.back(size);
        if !lasting.is_empty() {
            frame.extend_from_slice(b"\x1b[J");
            frame.extend_from_slice(lasting);
        }
        for (index, line) in area.iter().enumerate() {
            if index > 0 {
                frame.extend_from_slice(b"\r\n");
            }
            frame.extend_from_slice(b"\x1b[K");
            frame.extend_from_slice(line.as_bytes());
        }
        // What is below, of an area that was higher.
        frame.extend_from_slice(b"\x1b[J");
        self.drawn = area.iter().map(|line| area::columns(&plain(line))).collect();
        self.out.write(&frame);
        self.out.flush();
    }

    /// To the start of the area. A terminal that became narrower has wrapped its lines.
    fn back(&self, size: Size) -> Vec<u8> {
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(size.columns.max(1)).max(1)).sum();
        match rows {
            0 => Vec::new(),
            1 => b"\r".to_vec(),
            rows => format!("\r\x1b[{}A", rows - 1).into_bytes(),
        }
    }
}

/// Without the colours of [`Style`](crate::report::Style).
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_over_the_one_before() {
        let size = Size { columns: 80, rows: 24 };
        let mut painter = Painter::new(Vec::new());
        painter.frame(b"", &["a".into(), "\x1b[2mb\x1b[0m".into()], size);
        painter.frame(b"ok x\n", &["c".into()], size);
        painter.frame(b"", &[], size);
        let said = String::from_utf8(painter.into_inner()).unwrap().replace('\x1b', "ESC");
        assert_eq!(
            said,
            "ESC[KaESC[J".replace("ESC[J", "\r\nESC[KESC[2mbESC[0mESC[J")
                + "\rESC[1AESC[Jok x\nESC[KcESC[J"
                + "\rESC[J"
        );
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_wrapped_are_counted() {
        let mut painter = Painter::new(Vec::new());
        painter.frame(b"", &["x".repeat(30), "y".into()], Size { columns: 80, rows: 24 });
        painter.frame(b"", &[], Size { columns: 10, rows: 24 });
        assert!(painter.into_inner().ends_with(b"\r\x1b[3A\x1b[J"));
    }
}
