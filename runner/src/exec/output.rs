//! Cutting what a step prints into pieces to keep and to show.
//!
//! A piece ends at a line's end. A line that is longer than the buffer, or that has no end for a while (a
//! progress bar), is cut where it is, so nothing waits for ever and nothing grows.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// How much is read at once, and the longest piece: what fits a processor's own cache, with its compressed form.
pub(crate) const PIECE: usize = 64 << 10;
/// How long the start of a line waits for its end.
const LINE_WAIT: Duration = Duration::from_millis(100);

/// Collects bytes and gives them out in pieces.
#[derive(Default)]
pub(crate) struct Pieces {
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no line end.
    searched: usize,
    /// When the unfinished line that the buffer holds is given out all the same.
    due: Option<Instant>,
}

impl Pieces {
    /// Where to read to: never full, nor nearly, so that no read is a small one.
    pub(crate) fn space(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < PIECE / 4 {
            self.buffer.reserve(PIECE);
        }
        &mut self.buffer
    }

    /// What can be given out after something was read.
    pub(crate) fn after_read(&mut self, now: Instant) -> Option<Bytes> {
        let end = match memchr::memrchr(b'\n', &self.buffer[self.searched..]) {
            Some(at) => self.searched + at + 1,
            None if self.buffer.len() >= PIECE => self.buffer.len(),
            None => {
                self.searched = self.buffer.len();
                if self.searched > 0 {
                    self.due.get_or_insert(now + LINE_WAIT);
                }
                return None;
            }
        };
        let piece = self.buffer.split_to(end).freeze();
        self.searched = self.buffer.len();
        self.due = (!self.buffer.is_empty()).then(|| now + LINE_WAIT);
        Some(piece)
    }

    /// When [`Pieces::rest`] is to be given out.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is there, finished line or not.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        self.due = None;
        let rest = self.buffer.split().freeze();
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(pieces: &mut Pieces, bytes: &[u8], now: Instant) -> Option<Bytes> {
        pieces.space();
        pieces.buffer.extend_from_slice(bytes);
        pieces.after_read(now)
    }

    #[test]
    fn whole_lines_are_given_out_and_the_rest_waits() {
        let now = Instant::now();
        let mut pieces = Pieces::default();
        assert_eq!(feed(&mut pieces, b"one\ntwo\nthr", now).as_deref(), Some(&b"one\ntwo\n"[..]));
        assert_eq!(pieces.due(), Some(now + LINE_WAIT));
        assert_eq!(feed(&mut pieces, b"ee", now + LINE_WAIT / 2), None);
        assert_eq!(pieces.due(), Some(now + LINE_WAIT), "the line waits since its start");
        assert_eq!(pieces.rest().as_deref(), Some(&b"three"[..]));
        assert_eq!((pieces.due(), pieces.rest()), (None, None));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut pieces = Pieces::default();
        let mut cut = 0;
        for _ in 0..64 {
            cut += feed(&mut pieces, &[b'x'; 8 << 10], Instant::now()).map_or(0, |piece| piece.len());
            assert!(pieces.buffer.len() < PIECE);
        }
        assert_eq!(cut + pieces.rest().map_or(0, |rest| rest.len()), 512 << 10);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_reordered(parts in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), 0..40)) {
            let mut pieces = Pieces::default();
            let mut out = Vec::new();
            for part in &parts {
                if let Some(piece) = feed(&mut pieces, part, Instant::now()) {
                    prop_assert_eq!(piece.last(), Some(&b'\n'));
                    out.extend_from_slice(&piece);
                }
            }
            out.extend_from_slice(&pieces.rest().unwrap_or_default());
            prop_assert_eq!(out, parts.concat());
        }
    }
}
