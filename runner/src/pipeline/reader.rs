//! Reading a JSON syntax tree by hand: each helper reports what is wrong and goes on, so that one run shows all errors.

use std::collections::{HashMap, hash_map::Entry};

use jsonc_parser::{
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged,
};
use serde_json::Value as JsonValue;

use super::{
    Diagnostic, Span, Spanned,
    diagnostic::{did_you_mean, printable},
    embed::Scope,
};

/// Where expressions may stand, for those who write one elsewhere.
pub(super) const WHERE_EXPRESSIONS: &str =
    "expressions can stand in `if`, `env`, `with`, `workdir`, `outputs`, `reports` and `lock`";

/// How many keys are few.
const FEW: usize = 16;

/// What an object may hold. The reader and the JSON Schema both go by it.
pub(super) struct Keys {
    /// The object's name in a sentence: "a step".
    pub place: &'static str,
    /// The keys of this version.
    pub allowed: &'static [Key],
    /// Keys that belong elsewhere, and what to do with them.
    pub misplaced: &'static [(&'static str, &'static str)],
    /// What other tools call it, and our key.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// One key of an object.
pub(super) struct Key {
    pub name: &'static str,
    /// For editors: what it means, in a sentence or two.
    pub about: &'static str,
    /// The JSON Schema of its value.
    pub schema: fn() -> JsonValue,
}

impl Key {
    pub(super) const fn new(name: &'static str, about: &'static str, schema: fn() -> JsonValue) -> Self {
        Key { name, about, schema }
    }
}

/// An object's known keys.
pub(super) struct Fields<'a> {
    pub span: Span,
    known: Vec<(&'static str, Span, &'a Value<'a>)>,
    meant: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.known.iter().find(|(known, ..)| *known == key).map(|(_, _, value)| *value)
    }

    /// Where `key` itself stands.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.known.iter().find(|(known, ..)| *known == key).map(|(_, span, _)| span.clone())
    }

    /// The keys that are there, with their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'static str, &Span)> {
        self.known.iter().map(|(key, span, _)| (*key, span))
    }

    /// Whether `key` is missing, and was not merely misspelt: that has been reported.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.get(key).is_none() && !self.meant.contains(&key)
    }
}

/// What is expected of a value, for when something else stands there.
#[derive(Clone, Copy)]
pub(super) struct Expected<'e> {
    /// The value's name in a sentence, with backticks.
    pub name: &'e str,
    /// How to write it.
    pub example: &'e str,
}

/// Collects what is wrong while the tree of one file is walked.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Where the file begins in the places of all files.
    start: usize,
    errors: Vec<Diagnostic>,
    /// What the file's expressions can name.
    pub scope: Scope,
    /// The steps that expressions read, since this was last taken.
    pub reads: Vec<Spanned<String>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, start: usize) -> Self {
        Self { text, start, errors: Vec::new(), scope: Scope::default(), reads: Vec::new() }
    }

    /// All that was wrong.
    pub(super) fn into_errors(self) -> Vec<Diagnostic> {
        self.errors
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    /// Reports that `message` is the matter at `at`, and what to do.
    pub(super) fn refuse(&mut self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.report(Diagnostic::new(at, message).help(help));
    }

    /// Where a node of the tree stands.
    pub(super) fn span(&self, node: &impl Ranged) -> Span {
        let range = node.range();
        self.start + range.start..self.start + range.end
    }

    /// The file's text at a place.
    pub(super) fn raw(&self, span: &Span) -> &'t str {
        self.text.get(span.start - self.start..span.end - self.start).unwrap_or_default()
    }

    /// The known keys of an object; reports the others and those written twice.
    pub(super) fn fields<'a>(&mut self, object: &'a Object<'a>, keys: &Keys) -> Fields<'a> {
        let mut fields = Fields { span: self.span(object), known: Vec::new(), meant: Vec::new() };
        for (name, at, value) in self.entries(object) {
            if let Some(key) = keys.allowed.iter().find(|key| key.name == name) {
                fields.known.push((key.name, at, value));
            } else if let Some((_, help)) = keys.misplaced.iter().find(|(key, _)| *key == name) {
                self.refuse(at, format!("{} has no `{name}`", keys.place), *help);
            } else {
                fields.meant.extend(self.unknown(name, at, keys));
            }
        }
        fields
    }

    fn unknown(&mut self, name: &str, at: Span, keys: &Keys) -> Option<&'static str> {
        let lower = name.to_lowercase();
        let elsewhere = keys.elsewhere.iter().find(|(word, _)| *word == lower).map(|(_, key)| *key);
        let allowed = || keys.allowed.iter().map(|key| key.name);
        let meant = elsewhere.or_else(|| did_you_mean(name, allowed()));
        let diagnostic = Diagnostic::new(at, format!("unknown key `{}` in {}", printable(name), keys.place));
        self.report(match meant {
            Some(key) => diagnostic.label(format!("did you mean `{key}`?")),
            None => diagnostic.help(format!("the keys of {} are {}", keys.place, listed(allowed(), "and"))),
        });
        meant
    }

    /// An object's keys as they stand, each once; reports those written twice.
    pub(super) fn entries<'a>(&mut self, object: &'a Object<'a>) -> Vec<(&'a str, Span, &'a Value<'a>)> {
        let count = object.properties.len();
        let mut entries: Vec<(&str, Span, &Value<'_>)> = Vec::with_capacity(count);
        // A few keys, as a step has, are compared faster than they are hashed.
        let mut places = (count > FEW).then(|| HashMap::with_capacity(count));
        for ObjectProp { name, value, .. } in &object.properties {
            let (key, at) = (name.as_str(), self.span(name));
            let earlier = match &mut places {
                Some(places) => match places.entry(key) {
                    Entry::Occupied(place) => entries.get(*place.get()),
                    Entry::Vacant(place) => {
                        place.insert(entries.len());
                        None
                    }
                },
                None => entries.iter().find(|(earlier, ..)| *earlier == key),
            };
            if let Some((_, earlier, _)) = earlier {
                let diagnostic =
                    Diagnostic::new(at, format!("the key `{}` is written twice", printable(key)))
                        .label("again here")
                        .related(earlier.clone(), "first here")
                        .help("keep one of them");
                self.report(diagnostic);
            } else {
                entries.push((key, at, value));
            }
        }
        entries
    }

    pub(super) fn object<'a>(
        &mut self,
        value: &'a Value<'a>,
        expected: Expected<'_>,
    ) -> Option<&'a Object<'a>> {
        value.as_object().or_else(|| self.wrong_type(value, "an object", expected))
    }

    pub(super) fn array<'a>(
        &mut self,
        value: &'a Value<'a>,
        expected: Expected<'_>,
    ) -> Option<&'a Array<'a>> {
        value.as_array().or_else(|| self.wrong_type(value, "an array", expected))
    }

    pub(super) fn boolean(&mut self, value: &Value<'_>, expected: Expected<'_>) -> Option<bool> {
        value
            .as_boolean_lit()
            .map(|literal| literal.value)
            .or_else(|| self.wrong_type(value, "true or false", expected))
    }

    /// A string without NUL, which neither a process nor a path can take.
    pub(super) fn string(&mut self, value: &Value<'_>, expected: Expected<'_>) -> Option<Spanned<String>> {
        let Some(literal) = value.as_string_lit() else {
            return self.wrong_type(value, "a string", expected);
        };
        let at = self.span(literal);
        if literal.value.contains('\0') {
            self.refuse(at, format!("{} holds a NUL character", expected.name), "remove the \\u0000");
            return None;
        }
        Some(Spanned { value: literal.value.clone().into_owned(), span: at })
    }

    /// A string that is taken as it stands, so that an expression in it would go wrong unseen.
    pub(super) fn plain_string(
        &mut self,
        value: &Value<'_>,
        expected: Expected<'_>,
    ) -> Option<Spanned<String>> {
        let string = self.string(value, expected)?;
        if !string.value.contains("${{") {
            return Some(string);
        }
        let help = format!("write the value itself; {WHERE_EXPRESSIONS}");
        self.refuse_expression(&string.value, &string.span, &help);
        None
    }

    /// Reports an `${{ … }}` in a string, if there is one; `span` is the string's with its quotes.
    pub(super) fn refuse_expression(&mut self, string: &str, span: &Span, help: &str) {
        if !string.contains("${{") {
            return;
        }
        // With an escape in it, the file's text differs from the string; then the whole is underlined.
        let raw = self.raw(span);
        let at = raw.find("${{").map_or(span.clone(), |start| {
            let end = raw[start..].find("}}").map_or(raw.len(), |end| start + end + 2);
            span.start + start..span.start + end
        });
        self.refuse(at, "an expression cannot stand here", help);
    }

    /// Says what was found and what is expected.
    pub(super) fn wrong_type<T>(
        &mut self,
        value: &Value<'_>,
        wanted: &str,
        expected: Expected<'_>,
    ) -> Option<T> {
        let message = format!("{} must be {wanted}, not {}", expected.name, kind(value));
        self.refuse(self.span(value), message, format!("write it like {}", expected.example));
        None
    }
}

/// What a value is, in a sentence.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(literal) if literal.value => "true",
        Value::BooleanLit(_) => "false",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}

/// `a`, `b` and `c`
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, and: &str) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("`{}`", printable(name))).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {and} {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
