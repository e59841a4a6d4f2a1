//! Counts how often each word occurs in a text.

use std::collections::HashMap;

/// The words of `text` with how often each occurs: the most frequent first, equals by alphabet.
///
/// A word is a run of letters, and apostrophes inside it; case does not matter.
pub fn tally(text: &str) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphabetic() && c != '\'') {
        let word = word.trim_matches('\'').to_lowercase();
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    words
}

#[cfg(test)]
mod tests {
    use super::tally;

    #[test]
    fn the_most_frequent_comes_first_and_equals_by_alphabet() {
        assert_eq!(tally("b a c a"), [("a".into(), 2), ("b".into(), 1), ("c".into(), 1)]);
    }

    #[test]
    fn case_and_punctuation_do_not_matter() {
        assert_eq!(tally("Build, build; BUILD!"), [("build".into(), 3)]);
    }

    #[test]
    fn an_apostrophe_belongs_to_its_word_but_quotes_do_not() {
        assert_eq!(tally("don't 'quote'"), [("don't".into(), 1), ("quote".into(), 1)]);
    }

    #[test]
    fn a_text_without_words_has_none() {
        assert_eq!(tally(" 1, 2 -- '' \n"), []);
    }
}
