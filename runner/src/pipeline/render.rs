//! Diagnostics as people read them.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::{
    Diagnostic, Source, Span,
    diagnostic::printable,
    excerpt::{CONTEXT, Excerpt, Lines, Page, TAB},
};

/// More than this nobody reads before mending the first.
const MAX_SHOWN: usize = 20;

/// Narrower than this a picture is no use.
const MIN_WIDTH: usize = 40;

/// Shows what is wrong, in the order of the files: the message, the place with the offending text underlined, and what to
/// do next. With `color` in ANSI colours and Unicode lines, else in ASCII. `width` is the terminal's, in columns.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source], color: bool, width: usize) -> String {
    let width = width.max(MIN_WIDTH);
    let pages = Pages::new(sources);
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_context_lines(CONTEXT)
        .tab_width(TAB)
        .with_links(false);

    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span.start);

    let mut out = String::new();
    for diagnostic in sorted.iter().take(MAX_SHOWN) {
        let pictured = Pictured::new(diagnostic, &pages, color, width);
        // Writing to a string does not fail, and the excerpt answers for all of its own spans.
        if handler.render_report(&mut out, &pictured).is_err() {
            out.push_str(&diagnostic.message);
        }
        out.push('\n');
    }
    let mut files: Vec<_> = sorted.iter().map(|diagnostic| pages.find(&diagnostic.span).0).collect();
    files.dedup_by(|one, other| std::ptr::eq(*one, *other));
    out + &summary(sorted.len(), &files)
}

fn summary(count: usize, files: &[&Page<'_>]) -> String {
    let place = match files {
        [file] => file.name.clone(),
        _ => format!("{} files", files.len()),
    };
    match count {
        0 | 1 => String::new(),
        2..=MAX_SHOWN => format!("{count} errors in {place}\n"),
        _ => format!("{count} errors in {place}, of which the first {MAX_SHOWN} are shown\n"),
    }
}

/// The files, each with the place where it begins in the places of all files.
struct Pages<'t> {
    pages: Vec<Page<'t>>,
    starts: Vec<usize>,
}

impl<'t> Pages<'t> {
    fn new(sources: &'t [Source]) -> Self {
        let page =
            |source: &'t Source| Page { name: printable(&source.path), lines: Lines::new(&source.text) };
        let mut pages: Vec<_> = sources.iter().map(page).collect();
        if pages.is_empty() {
            pages.push(Page { name: String::new(), lines: Lines::new("") });
        }
        let starts = Source::starts(sources).collect();
        Pages { pages, starts }
    }

    /// The file that a place is in, and the place in it.
    fn find(&self, span: &Span) -> (&Page<'t>, Span) {
        let file = self.starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let start = self.starts.get(file).copied().unwrap_or_default();
        (&self.pages[file], span.start - start..span.end.saturating_sub(start))
    }
}

/// A diagnostic together with what is shown of the file.
struct Pictured<'d> {
    diagnostic: &'d Diagnostic,
    excerpt: Excerpt,
}

impl<'d> Pictured<'d> {
    fn new(diagnostic: &'d Diagnostic, pages: &Pages<'_>, color: bool, width: usize) -> Self {
        let related = diagnostic.related.as_ref().map(|(span, _)| span);
        let places: Vec<_> =
            std::iter::once(&diagnostic.span).chain(related).map(|span| pages.find(span)).collect();
        let lines = places.iter().map(|(page, span)| page.lines.line_of(span.start));
        let deepest = lines.max().unwrap_or(0);
        // " 12 | " stands before each line.
        let gutter = (deepest + 1 + CONTEXT).to_string().len() + 4;
        let cut = if color { "…" } else { "..." };
        let excerpt = Excerpt::new(&places, width.saturating_sub(gutter), cut);
        Self { diagnostic, excerpt }
    }
}

impl fmt::Debug for Pictured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl fmt::Display for Pictured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Pictured<'_> {}

impl miette::Diagnostic for Pictured<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let primary = LabeledSpan::new_primary_with_span(self.diagnostic.label.clone(), self.excerpt.span(0));
        let related = self
            .diagnostic
            .related
            .as_ref()
            .map(|(_, label)| LabeledSpan::new_with_span(Some(label.clone()), self.excerpt.span(1)));
        Some(Box::new(std::iter::once(primary).chain(related)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Diagnostic, Source};

    fn render(diagnostics: &[Diagnostic], name: &str, text: &str, color: bool, width: usize) -> String {
        let source = Source { path: name.to_owned(), text: text.to_owned() };
        super::render(diagnostics, &[source], color, width)
    }

    fn first_place(text: &str, wanted: &str) -> String {
        let start = text.find(wanted).map_or(0..0, |at| at..at + wanted.len());
        let shown = render(&[Diagnostic::new(start, "wrong")], "f", text, false, 80);
        let from = shown.find('[').map_or(0, |at| at + 1);
        shown[from..].split(']').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(first_place("{\n\t\t\"x\"", "\"x\""), "f:2:3");
        assert_eq!(first_place("{ \"ünïcödé 日本\": x", "x"), "f:1:17");
        assert_eq!(first_place("\u{feff}{ x", "x"), "f:1:3");
        assert_eq!(first_place("{\r\n\r\n x", "x"), "f:3:2");
        assert_eq!(first_place("", ""), "f:1:1");
        assert_eq!(first_place("a\n", "b"), "f:1:1");
    }

    #[test]
    fn a_span_outside_the_text_is_no_trouble() {
        for (start, end) in [(0, 0), (5, 9), (1, 2), (3, 1)] {
            let span = start..end;
            let shown =
                render(&[Diagnostic::new(span.clone(), "wrong").related(span, "x")], "f", "é\n", true, 0);
            assert!(shown.contains("wrong"), "{shown}");
        }
    }

    #[test]
    fn places_far_apart_are_shown_apart() {
        let text = format!("first\n{}second\n", "between\n".repeat(1000));
        let second = text.len() - 7..text.len() - 1;
        let shown = render(&[Diagnostic::new(second, "twice").related(0..5, "here")], "f", &text, false, 80);
        assert!(shown.contains("[f:1002:1]") && shown.contains("[f:1:1]"), "{shown}");
        assert!(
            shown.find("[f:1002:1]") < shown.find("[f:1:1]"),
            "the error's own place comes first: {shown}"
        );
        assert!(shown.lines().count() < 16, "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_to_the_width() {
        for at in [0, 10, 500, 900, 1500, 1994] {
            let mut text = "日本, ".repeat(400);
            let at = text.char_indices().map(|(at, _)| at).filter(|found| *found >= at).min().unwrap_or(0);
            text.insert_str(at, "WRONG");
            let shown = render(&[Diagnostic::new(at..at + 5, "x").label("here")], "f", &text, false, 80);
            assert!(
                shown.contains("WRONG") && shown.lines().all(|line| line.chars().count() <= 80),
                "{shown}"
            );
        }
    }

    #[test]
    fn each_place_is_shown_in_its_own_file() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [source("a.json", "first\n"), source("ci/b.json", "\nsecond\n")];
        let wrong = Diagnostic::new(8..14, "twice").related(0..5, "here");
        let shown = super::render(&[wrong.clone(), Diagnostic::new(0..5, "also")], &sources, false, 80);
        assert!(shown.contains("[ci/b.json:2:1]\n 1 | \n 2 | second"), "{shown}");
        assert!(shown.contains("[a.json:1:1]") && shown.contains("2 errors in 2 files"), "{shown}");
        assert!(!super::render(&[wrong], &[], false, 80).is_empty());
    }
}
