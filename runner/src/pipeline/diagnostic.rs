//! What is wrong with the pipeline file, and where.

use super::Span;

/// One thing that is wrong at one place of the pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// The offending text.
    pub span: Span,
    /// A few words beside the offending text.
    pub label: Option<String>,
    /// What to do next.
    pub help: Option<String>,
    /// Another place that belongs to it, and a few words on why.
    pub related: Option<(Span, String)>,
}

impl Diagnostic {
    /// Says that `message` is the matter at `span`.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: None, help: None, related: None }
    }

    /// The same, for a file that begins at `start` in the places of all files.
    pub(super) fn moved(mut self, start: usize) -> Self {
        let moved = |span: &mut Span| *span = span.start + start..span.end + start;
        moved(&mut self.span);
        self.related.iter_mut().for_each(|(span, _)| moved(span));
        self
    }

    /// Adds a few words beside the offending text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }
}

/// Longer names are cut in messages; the file's excerpt shows the whole.
const MAX_QUOTED: usize = 60;

/// Text from the file as a message may show it: nothing in it can steer a terminal, and its length is bounded.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_QUOTED {
            shown.push_str("...");
            break;
        }
        if is_unprintable(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and those that are invisible or change the direction of the text around them. The joiners that
/// emoji and several scripts need are printable.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The nearest of `candidates` to what was typed, when it is near enough to be a slip.
pub(crate) fn did_you_mean<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['-', '_', ' '], "").to_lowercase();
    let typed = plain(typed);
    // A pasted page instead of a key would cost time and never be near.
    if typed.len() > 40 {
        return None;
    }
    let allowance = if typed.chars().count() <= 3 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowance && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, printable};

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let keys = ["name", "run", "uses", "timeout", "continue_on_error"];
        assert_eq!(did_you_mean("nmae", keys), Some("name"));
        assert_eq!(did_you_mean("Timeout", keys), Some("timeout"));
        assert_eq!(did_you_mean("continue-on-error", keys), Some("continue_on_error"));
        assert_eq!(did_you_mean("rn", keys), Some("run"));
        assert_eq!(did_you_mean("xyz", keys), None);
        assert_eq!(did_you_mean(&"x".repeat(1_000_000), keys), None);
    }

    #[test]
    fn nothing_that_is_quoted_can_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
        assert_eq!(printable(&"é".repeat(61)), format!("{}...", "é".repeat(60)));
    }
}
