//! What stands in for programs and the network.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::{Case, FakeAnswer, FakeCommand};

/// What a case has for its plugin, and what the plugin asked for.
#[derive(Default)]
pub(super) struct Fakes {
    commands: Vec<FakeCommand>,
    answers: Vec<FakeAnswer>,
    asked: Mutex<Asked>,
}

/// What a plugin asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) commands: Vec<String>,
    /// Method and URL, and body.
    pub(super) requests: Vec<(String, String)>,
}

impl Fakes {
    pub(super) fn new(case: &Case) -> Arc<Self> {
        let (commands, answers) = (case.commands.clone(), case.http.clone());
        Arc::new(Fakes { commands, answers, asked: Mutex::default() })
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether a text fits a pattern, in which `*` stands for anything.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let fitting = [
            ("a b", "a b"),
            ("a *", "a "),
            ("a *", "a b c"),
            ("*", ""),
            ("*b*d", "abcd"),
            ("a*a", "aa"),
            ("*/x", "/x/x"),
        ];
        for (pattern, text) in fitting {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        let other =
            [("a b", "a b c"), ("a *", "a"), ("*b*d", "adb"), ("a*a", "a"), ("", "a"), ("a*bc", "abc bc d")];
        for (pattern, text) in other {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
