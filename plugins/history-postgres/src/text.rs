//! Texts as PostgreSQL can hold them.
//!
//! Its `text` has no U+0000. So that one is written as U+001A (SUBSTITUTE) and `0`, and U+001A itself as U+001A and `1`:
//! neither occurs in what people write or in JSON text, and all else stays as it is. No two texts become the same, so
//! what is stored can be compared, filtered by and read again to the byte.

use std::borrow::Cow;

use dcd_plugin_sdk::serde_json::{self, Map, Value};

const SUBSTITUTE: char = '\u{1a}';

/// The text as it is stored.
pub(crate) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', SUBSTITUTE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        match char {
            '\0' => stored.extend([SUBSTITUTE, '0']),
            SUBSTITUTE => stored.extend([SUBSTITUTE, '1']),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// The text that was stored.
pub(crate) fn original(stored: String) -> String {
    if !stored.contains(SUBSTITUTE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut chars = stored.chars().peekable();
    while let Some(char) = chars.next() {
        let meant = match (char, chars.peek()) {
            (SUBSTITUTE, Some('0')) => Some('\0'),
            (SUBSTITUTE, Some('1')) => Some(SUBSTITUTE),
            _ => None,
        };
        if meant.is_some() {
            chars.next();
        }
        text.push(meant.unwrap_or(char));
    }
    text
}

/// JSON text for a `jsonb`, whose strings cannot hold U+0000 either. None when it is not JSON.
pub(crate) fn jsonb(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    Some(cleaned(value).to_string())
}

/// A JSON object of one key, as [`jsonb`] has it.
pub(crate) fn jsonb_pair(key: &str, text: &str) -> String {
    let pair = (stored(key).into_owned(), Value::String(stored(text).into_owned()));
    Value::Object(Map::from_iter([pair])).to_string()
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(stored(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(pairs) => {
            pairs.into_iter().map(|(key, value)| (stored(&key).into_owned(), cleaned(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for text in
            ["", "deploy/prod", "a\0b", "\0", "\u{1a}", "\u{1a}0", "\0\u{1a}1\0", "grüezi \u{1a}\u{1a}"]
        {
            let stored = stored(text).into_owned();
            assert!(!stored.contains('\0'), "{stored:?}");
            assert_eq!(original(stored), text);
        }
        assert!(matches!(stored("plain"), Cow::Borrowed("plain")));
        assert_ne!(stored("\0"), stored("\u{1a}0"));
    }

    #[test]
    fn a_jsonb_holds_no_null_character() {
        assert_eq!(
            jsonb(r#"{"a\u0000":["\u0000", 1, null], "b": "x"}"#).unwrap(),
            "{\"a\\u001a0\":[\"\\u001a0\",1,null],\"b\":\"x\"}"
        );
        assert_eq!(jsonb_pair("branch", "a\0"), "{\"branch\":\"a\\u001a0\"}");
        assert_eq!(jsonb("{"), None);
    }
}
