//! Strings with `${{ }}` in them.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Compiled, EvaluationError, ExpressionError, Names, Root, StepRead, Variables, check::Kind, evaluate,
    syntax::end_of_expression,
};

/// A string with expressions in it. `$${{` stands for `${{`.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    /// Empty when the source stands for itself.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Expression(Arc<Compiled>),
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.parts.is_empty() == other.parts.is_empty()
    }
}

impl Eq for Template {}

impl Template {
    /// A string that stands for itself.
    pub fn plain(text: impl Into<String>) -> Self {
        Template { source: text.into(), parts: Vec::new() }
    }

    /// Parses and checks a string. One without `${{` stands for itself.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, Vec<ExpressionError>> {
        let (mut parts, mut errors) = (Vec::new(), Vec::new());
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("${{") {
            let start = at + found;
            if text[at..start].ends_with('$') {
                plain.push_str(&text[at..start - 1]);
                plain.push_str("${{");
                parts.push(Part::Text(std::mem::take(&mut plain)));
                at = start + 3;
                continue;
            }
            plain.push_str(&text[at..start]);
            let Some(end) = end_of_expression(text, start + 3) else {
                errors.push(
                    ExpressionError::new(start..start + 3, "this `${{` has no `}}`")
                        .help("close it, or write $${{ for the characters themselves"),
                );
                break;
            };
            match Compiled::parse(text, start + 3..end, names, Kind::Value) {
                Ok(compiled) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Expression(Arc::new(compiled)));
                }
                Err(found) => errors.extend(found),
            }
            at = end + 2;
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        plain.push_str(&text[at..]);
        if !parts.is_empty() && !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { source: text.to_owned(), parts })
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The string, when no expression is in it.
    pub fn as_plain(&self) -> Option<&str> {
        self.parts.is_empty().then_some(self.source.as_str())
    }

    /// The steps that its expressions read, in the order of the text.
    pub fn steps(&self) -> impl Iterator<Item = &StepRead> {
        self.expressions().flat_map(|compiled| &compiled.reads.steps)
    }

    /// What its expressions read. A root may come more than once.
    pub fn roots(&self) -> impl Iterator<Item = Root> {
        self.expressions().flat_map(|compiled| compiled.reads.roots.keys().copied())
    }

    fn expressions(&self) -> impl Iterator<Item = &Compiled> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Expression(compiled) => Some(compiled.as_ref()),
        })
    }

    /// The string, with each expression's value in its place: strings as they are, all else as JSON.
    pub fn render(&self, variables: &Variables) -> Result<String, EvaluationError> {
        if self.parts.is_empty() {
            return Ok(self.source.clone());
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Expression(compiled) => match evaluate::json(compiled, variables)? {
                    Value::String(value) => text.push_str(&value),
                    value => text.push_str(&value.to_string()),
                },
            }
        }
        Ok(text)
    }

    /// As [`Template::render`], but a string that is one single expression keeps the type of its value.
    pub fn render_value(&self, variables: &Variables) -> Result<Value, EvaluationError> {
        match self.parts.as_slice() {
            [Part::Expression(compiled)] => evaluate::json(compiled, variables),
            _ => self.render(variables).map(Value::String),
        }
    }
}
