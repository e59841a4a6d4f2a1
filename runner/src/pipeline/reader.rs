//! Reading a JSON syntax tree by hand: each helper reports what is wrong and goes on, so that one run shows all errors.

use std::collections::HashMap;

use jsonc_parser::{
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged,
};

use super::{
    Diagnostic, Span, Spanned,
    diagnostic::{did_you_mean, printable},
};

/// What an object may hold.
pub(super) struct Keys {
    /// The object's name in a sentence: "a step".
    pub place: &'static str,
    /// The keys of this version.
    pub allowed: &'static [&'static str],
    /// Keys that a later version will have, and what to do without them.
    pub later: &'static [(&'static str, &'static str)],
    /// What other tools call it, and our key.
    pub elsewhere: &'static [(&'static str, &'static str)],
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

/// Collects what is wrong while the tree is walked.
pub(super) struct Reader<'t> {
    text: &'t str,
    errors: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, errors: Vec::new() }
    }

    /// All that was wrong, in the order of the file.
    pub(super) fn into_errors(mut self) -> Vec<Diagnostic> {
        self.errors.sort_by_key(|error| error.span.start);
        self.errors
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    /// The known keys of an object; reports the others and those written twice.
    pub(super) fn fields<'a>(&mut self, object: &'a Object<'a>, keys: &Keys) -> Fields<'a> {
        let mut fields = Fields { span: span(object), known: Vec::new(), meant: Vec::new() };
        for (name, at, value) in self.entries(object) {
            if let Some(key) = keys.allowed.iter().find(|key| **key == name) {
                fields.known.push((key, at, value));
            } else if let Some((_, help)) = keys.later.iter().find(|(key, _)| *key == name) {
                let version = env!("CARGO_PKG_VERSION");
                let message = format!("`{name}` is not supported by this version of dcd ({version})");
                self.report(Diagnostic::new(at, message).help(*help));
            } else {
                fields.meant.extend(self.unknown(name, at, keys));
            }
        }
        fields
    }

    fn unknown(&mut self, name: &str, at: Span, keys: &Keys) -> Option<&'static str> {
        let lower = name.to_lowercase();
        let elsewhere = keys.elsewhere.iter().find(|(word, _)| *word == lower).map(|(_, key)| *key);
        let meant = elsewhere.or_else(|| did_you_mean(name, keys.allowed.iter().copied()));
        let diagnostic = Diagnostic::new(at, format!("unknown key `{}` in {}", printable(name), keys.place));
        self.report(match meant {
            Some(key) => diagnostic.label(format!("did you mean `{key}`?")),
            None => diagnostic.help(format!("the keys of {} are {}", keys.place, listed(keys.allowed))),
        });
        meant
    }

    /// An object's keys as they stand, each once; reports those written twice.
    pub(super) fn entries<'a>(&mut self, object: &'a Object<'a>) -> Vec<(&'a str, Span, &'a Value<'a>)> {
        let mut first: HashMap<&str, Span> = HashMap::with_capacity(object.properties.len());
        let mut entries = Vec::with_capacity(object.properties.len());
        for ObjectProp { name, value, .. } in &object.properties {
            let (key, at) = (name.as_str(), span(name));
            if let Some(earlier) = first.get(key) {
                let diagnostic =
                    Diagnostic::new(at, format!("the key `{}` is written twice", printable(key)))
                        .label("again here")
                        .related(earlier.clone(), "first here")
                        .help("keep one of them");
                self.report(diagnostic);
            } else {
                first.insert(key, at.clone());
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
        let at = span(literal);
        if literal.value.contains('\0') {
            let message = format!("{} holds a NUL character", expected.name);
            self.report(Diagnostic::new(at, message).help("remove the \\u0000"));
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
        self.refuse_expression(&string.value, &string.span, "write the value itself");
        Some(string)
    }

    /// Reports an `${{ … }}` in a string; `span` is the string's with its quotes.
    pub(super) fn refuse_expression(&mut self, string: &str, span: &Span, help: &str) {
        if !string.contains("${{") {
            return;
        }
        // With an escape in it, the file's text differs from the string; then the whole is underlined.
        let raw = &self.text[span.clone()];
        let at = raw.find("${{").map_or(span.clone(), |start| {
            let end = raw[start..].find("}}").map_or(raw.len(), |end| start + end + 2);
            span.start + start..span.start + end
        });
        self.report(Diagnostic::new(at, "expressions are not supported by this version of dcd").help(help));
    }

    /// Says what was found and what is expected.
    pub(super) fn wrong_type<T>(
        &mut self,
        value: &Value<'_>,
        wanted: &str,
        expected: Expected<'_>,
    ) -> Option<T> {
        let found = kind(value);
        let diagnostic =
            Diagnostic::new(span(value), format!("{} must be {wanted}, not {found}", expected.name))
                .help(format!("write it like {}", expected.example));
        self.report(diagnostic);
        None
    }
}

/// Where a node of the tree stands.
pub(super) fn span(node: &impl Ranged) -> Span {
    let range = node.range();
    range.start..range.end
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

fn listed(keys: &[&str]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
