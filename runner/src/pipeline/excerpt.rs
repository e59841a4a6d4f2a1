//! The few lines of the file around what is wrong, as miette wants them.
//!
//! miette would print whole lines (a minified file is one line), scan the file anew for each label, count columns in
//! bytes, and print all that lies between two labels. So it gets a small text of its own, with the labels moved to it.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::{Span, diagnostic::is_unprintable};

/// Lines shown above and below.
pub(super) const CONTEXT: usize = 1;

/// A label further down than this gets a picture of its own.
const MERGE_WITHIN: usize = 4;

/// Columns that a tab takes. Not eight: a file indented with tabs would leave no room.
pub(super) const TAB: usize = 4;

/// A file that is shown.
pub(super) struct Page<'t> {
    /// As it stands above a picture.
    pub name: String,
    pub lines: Lines<'t>,
}

/// Where each line of the file starts and ends, found once for all diagnostics.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        // A byte order mark is no column.
        let first = text.len() - text.trim_start_matches('\u{feff}').len();
        let starts = std::iter::once(first).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line that `offset` is in, from 0.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// A line without its line end.
    fn range(&self, line: usize) -> Range<usize> {
        let start = self.starts[line];
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        start..end
    }

    /// `span` as far as it is on its first line, at character boundaries and within the text.
    fn clip(&self, span: &Span) -> (usize, Range<usize>) {
        let line = self.line_of(self.floor(span.start));
        let range = self.range(line);
        let start = self.floor(span.start).clamp(range.start, range.end);
        let end = self.floor(span.end).clamp(start, range.end);
        (line, start..end)
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    fn is_wider(&self, line: usize, columns: usize) -> bool {
        let mut wide = 0;
        self.text[self.range(line)].chars().any(|c| {
            wide += width(c);
            wide > columns
        })
    }

    /// The part of a line to show, `columns` wide, with `focus` towards its left, where there is room for its label.
    fn window(&self, line: usize, focus: Option<usize>, columns: usize) -> Range<usize> {
        let range = self.range(line);
        if !self.is_wider(line, columns) {
            return range;
        }
        let focus = focus.unwrap_or(range.start);
        let (after, used) = fill(self.text[focus..range.end].chars(), columns * 2 / 3);
        let (before, used_before) = fill(self.text[range.start..focus].chars().rev(), columns - used);
        let (after, _) = if focus - before == range.start {
            fill(self.text[focus..range.end].chars(), columns - used_before)
        } else {
            (after, used)
        };
        focus - before..focus + after
    }
}

/// How many bytes of `chars` fit into `columns`, and how many columns they take.
fn fill(chars: impl Iterator<Item = char>, columns: usize) -> (usize, usize) {
    let (mut bytes, mut used) = (0, 0);
    for c in chars {
        if used + width(c) > columns {
            break;
        }
        used += width(c);
        bytes += c.len_utf8();
    }
    (bytes, used)
}

/// An upper bound: only how much is shown depends on it.
fn width(c: char) -> usize {
    match c {
        '\t' => TAB,
        c if c.is_ascii() => 1,
        _ => 2,
    }
}

/// Lines that stand together in a file.
struct Region {
    name: String,
    range: Range<usize>,
    first_line: usize,
    lines: usize,
}

/// A place that gets a label.
struct Mark {
    /// In the excerpt.
    range: Range<usize>,
    line: usize,
    column: usize,
}

/// What is shown of the file.
pub(super) struct Excerpt {
    text: String,
    regions: Vec<Region>,
    marks: Vec<Mark>,
}

impl Excerpt {
    /// Shows places, the first of which is the one that matters most. `columns` is the room for the file's text.
    pub(super) fn new(places: &[(&Page<'_>, Span)], columns: usize, cut: &'static str) -> Self {
        let mut excerpt = Self { text: String::new(), regions: Vec::new(), marks: Vec::new() };
        let clipped: Vec<_> = places.iter().map(|(page, span)| page.lines.clip(span)).collect();
        let first = clipped.iter().map(|(line, _)| *line).min().unwrap_or(0);
        let last = clipped.iter().map(|(line, _)| *line).max().unwrap_or(0);
        let together = places.windows(2).all(|pair| std::ptr::eq(pair[0].0, pair[1].0))
            && last - first <= MERGE_WITHIN
            && places
                .first()
                .is_some_and(|(page, _)| !(first..=last).any(|line| page.lines.is_wider(line, columns)));
        if together {
            excerpt.add_region(places[0].0, first, last, &clipped, columns, cut);
        } else {
            for ((page, _), place) in places.iter().zip(&clipped) {
                excerpt.add_region(page, place.0, place.0, std::slice::from_ref(place), columns, cut);
            }
        }
        excerpt
    }

    /// Where the `index`th span is in the excerpt.
    pub(super) fn span(&self, index: usize) -> SourceSpan {
        let range = self.marks.get(index).map_or(0..0, |mark| mark.range.clone());
        (range.start, range.len()).into()
    }

    fn add_region(
        &mut self,
        page: &Page<'_>,
        first: usize,
        last: usize,
        places: &[(usize, Range<usize>)],
        columns: usize,
        cut: &'static str,
    ) {
        let lines = &page.lines;
        let start = self.text.len();
        let first_line = first.saturating_sub(CONTEXT);
        let last_line = (last + CONTEXT).min(lines.starts.len() - 1);
        let marks = self.marks.len();
        self.marks.extend(places.iter().map(|(line, range)| Mark {
            range: 0..0,
            line: *line,
            column: lines.text[lines.starts[*line]..range.start].chars().count(),
        }));
        for line in first_line..=last_line {
            let focus = places.iter().find(|(at, _)| *at == line).map(|(_, range)| range.start);
            let window = lines.window(line, focus, columns.saturating_sub(2 * cut.len()));
            let whole = lines.range(line);
            if window.start > whole.start {
                self.text.push_str(cut);
            }
            // Where each character went; one more for the end.
            let mut moved = Vec::new();
            for (at, c) in lines.text[window.clone()].char_indices() {
                moved.push((window.start + at, self.text.len()));
                self.text.push(if c != '\t' && is_unprintable(c) { '\u{fffd}' } else { c });
            }
            moved.push((window.end, self.text.len()));
            for (mark, (at, range)) in self.marks[marks..].iter_mut().zip(places) {
                if *at == line {
                    let to = |offset: usize| {
                        let next = moved.partition_point(|(from, _)| *from < offset);
                        moved.get(next).or(moved.last()).map_or(0, |(_, to)| *to)
                    };
                    mark.range = to(range.start)..to(range.end);
                }
            }
            if window.end < whole.end {
                self.text.push_str(cut);
            }
            // Also after the last line: miette draws no label at the very end of its text.
            self.text.push('\n');
        }
        self.regions.push(Region {
            name: page.name.clone(),
            range: start..self.text.len(),
            first_line,
            lines: last_line - first_line + 1,
        });
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        _context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let wanted = span.offset()..span.offset() + span.len();
        let region = self
            .regions
            .iter()
            .find(|region| region.range.start <= wanted.start && wanted.end <= region.range.end)
            .ok_or(MietteError::OutOfBounds)?;
        // Without context it is asked for the position in the file only.
        let mark = self.marks.iter().find(|mark| context_lines_before == 0 && mark.range == wanted);
        let (range, line, column) = match mark {
            Some(mark) => (wanted, mark.line, mark.column),
            None => (region.range.clone(), region.first_line, 0),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            region.name.clone(),
            &self.text.as_bytes()[range.clone()],
            (range.start, range.len()).into(),
            line,
            column,
            region.lines,
        )))
    }
}
