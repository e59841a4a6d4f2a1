//! The last lines of output that comes in pieces.

use std::collections::VecDeque;

use bytes::Bytes;

/// Keeps no more than it needs.
pub(super) struct LastLines<T> {
    lines: usize,
    /// Each with how many line ends it has.
    pieces: VecDeque<(T, Bytes, usize)>,
    line_ends: usize,
}

impl<T> LastLines<T> {
    pub(super) fn new(lines: usize) -> Self {
        LastLines { lines, pieces: VecDeque::new(), line_ends: 0 }
    }

    /// Adds a piece, with what belongs to it.
    pub(super) fn push(&mut self, of: T, bytes: Bytes) {
        let line_ends = memchr::memchr_iter(b'\n', &bytes).count();
        self.line_ends += line_ends;
        self.pieces.push_back((of, bytes, line_ends));
        // The line before the first one must be seen to end.
        while let Some((_, _, first)) = self.pieces.front()
            && self.line_ends - first > self.lines
        {
            self.line_ends -= first;
            self.pieces.pop_front();
        }
    }

    /// What is left, in its order.
    pub(super) fn take(self) -> Vec<(T, Bytes)> {
        if self.lines == 0 {
            return Vec::new();
        }
        let last = self.pieces.iter().rev().find_map(|(_, bytes, _)| bytes.last());
        let mut wanted = self.lines + usize::from(last == Some(&b'\n'));
        let mut left = VecDeque::new();
        for (of, bytes, _) in self.pieces.into_iter().rev() {
            let ends = memchr::memrchr_iter(b'\n', &bytes);
            match ends.enumerate().find(|(seen, _)| seen + 1 == wanted) {
                Some((_, at)) => {
                    left.push_front((of, bytes.slice(at + 1..)));
                    break;
                }
                None => wanted -= memchr::memchr_iter(b'\n', &bytes).count(),
            }
            left.push_front((of, bytes));
        }
        left.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(lines: usize, pieces: &[&str]) -> String {
        let mut last = LastLines::new(lines);
        for piece in pieces {
            last.push((), Bytes::copy_from_slice(piece.as_bytes()));
        }
        last.take().into_iter().map(|((), bytes)| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_line_counts_with_and_without_its_end() {
        assert_eq!(last(2, &["one\ntwo\nthree\n"]), "two\nthree\n");
        assert_eq!(last(2, &["one\ntwo\nthr", "ee"]), "two\nthree");
        assert_eq!(last(1, &["one\n", "tw", "o", "\n"]), "two\n");
        assert_eq!(last(9, &["one\n", "two"]), "one\ntwo");
        assert_eq!((last(0, &["one\n"]), last(3, &[])), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab\n]{0,60}", cuts in proptest::collection::vec(0_usize..60, 0..8), lines in 1_usize..9) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let all: Vec<_> = text.split_inclusive('\n').collect();
            let expected = all[all.len().saturating_sub(lines)..].concat();
            prop_assert_eq!(last(lines, &pieces), expected);
        }
    }
}
