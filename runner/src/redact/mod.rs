//! Secrets never reach a sink: neither the terminal nor the journal, nor a history backend.
//!
//! A [`Redactor`] knows the secrets in every form that they are usually printed in (`forms`), and replaces them with
//! `***`. What a step prints comes in pieces, which a [`Stream`] masks as if they were one text. Everything that
//! overlaps is replaced together, so that no end of the one stays beside the other.

mod body;
mod forms;
mod stream;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet, fmt, ops::Range};

use aho_corasick::AhoCorasick;
use serde_json::Value;

pub use body::{body, mask_facts};
pub use stream::Stream;

/// What stands for a secret.
pub const MASK: &str = "***";

/// Knows the secrets of a build.
#[derive(Clone, Default)]
pub struct Redactor {
    /// All forms of all secrets, sorted.
    needles: BTreeSet<Vec<u8>>,
    /// Finds them; `None` when there are none.
    finder: Option<AhoCorasick>,
    /// The longest needle, in bytes.
    longest: usize,
}

/// Secrets are in it: it shows how many.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("needles", &self.needles.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Knows these secrets. Values that are empty, or white space only, are none.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut redactor = Redactor::default();
        for secret in secrets {
            redactor.needles.extend(forms::of(secret.as_ref()));
        }
        redactor.build();
        redactor
    }

    /// Knows one more. What was given out before stays as it was.
    pub fn add(&mut self, secret: impl AsRef<[u8]>) {
        let before = self.needles.len();
        self.needles.extend(forms::of(secret.as_ref()));
        if self.needles.len() > before {
            self.build();
        }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    fn build(&mut self) {
        self.longest = self.needles.iter().map(Vec::len).max().unwrap_or_default();
        self.finder = if self.needles.is_empty() { None } else { AhoCorasick::new(&self.needles).ok() };
    }

    /// Where secrets stand, in rising order. Those that overlap are one.
    fn found(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let Some(finder) = &self.finder else {
            // A finder that cannot be built (millions of needles) must not mean that secrets are shown.
            found.extend((!self.is_empty()).then_some(0..text.len()));
            return found;
        };
        // They come by their ends.
        for one in finder.find_overlapping_iter(text) {
            let mut range = one.range();
            while let Some(last) = found.last().filter(|last| last.end > range.start) {
                range.start = range.start.min(last.start);
                found.pop();
            }
            found.push(range);
        }
        found
    }

    /// Where the rest begins that may be the start of a secret: the text's length when there is no such rest.
    fn open_end(&self, text: &[u8]) -> usize {
        let first = (text.len() + 1).saturating_sub(self.longest);
        (first..text.len()).find(|start| self.starts_needle(&text[*start..])).unwrap_or(text.len())
    }

    /// Whether a needle begins with `text` and goes on.
    fn starts_needle(&self, text: &[u8]) -> bool {
        let from = (std::ops::Bound::Excluded(text), std::ops::Bound::Unbounded);
        self.needles.range::<[u8], _>(from).next().is_some_and(|needle| needle.starts_with(text))
    }

    /// The bytes, masked.
    pub fn bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let found = self.found(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            masked.extend_from_slice(&text[at..range.start]);
            masked.extend_from_slice(MASK.as_bytes());
            at = range.end;
        }
        masked.extend_from_slice(&text[at..]);
        Cow::Owned(masked)
    }

    /// The text, masked.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Secrets need not be text: one of them may have been cut out of the middle of a character.
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// Masks a text where it is.
    pub fn string(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    /// Masks all strings and keys of a value. A number that has a secret in its digits becomes a string.
    pub fn json(&self, value: &mut Value) {
        if !self.is_empty() {
            self.value(value, true);
        }
    }

    fn value(&self, value: &mut Value, numbers: bool) {
        match value {
            Value::Number(number) if numbers => {
                if let Cow::Owned(masked) = self.text(&number.to_string()) {
                    *value = Value::String(masked);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => self.string(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value, numbers)),
            Value::Object(values) => {
                for (mut key, mut value) in std::mem::take(values) {
                    self.string(&mut key);
                    self.value(&mut value, numbers);
                    // Two keys may be alike now; neither is dropped.
                    while values.contains_key(&key) {
                        key.push('*');
                    }
                    values.insert(key, value);
                }
            }
        }
    }
}
