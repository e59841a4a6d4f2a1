//! Expressions where the file has them: from a string of the file to a [`Template`] or an [`Expression`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use jsonc_parser::ast::{Object, Value};
use serde_json::Value as JsonValue;

use super::{
    Diagnostic, Param, Span, Spanned,
    action::is_file,
    expression::{Expression, ExpressionError, Names, Root, StepName, StepRead, Template},
    matrix::Cell,
    reader::{Expected, Reader},
};

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// As it stands after "in".
    name: &'static str,
    /// What has values there.
    roots: &'static [Root],
}

impl Place {
    pub(super) const IF: Place = Place { name: "`if`", roots: &Root::ALL };
    pub(super) const STEP_ENV: Place = Place { name: "`env`", roots: &Root::ALL };
    pub(super) const WITH: Place = Place { name: "`with`", roots: &Root::ALL };
    pub(super) const WORKDIR: Place = Place { name: "`workdir`", roots: &Root::ALL };
    /// `outputs` and `reports`.
    pub(super) const GLOB: Place = Place { name: "a glob", roots: OF_GLOB };
    /// The `env` of a file.
    pub(super) const ENV: Place = Place { name: "the file's `env`", roots: OF_FILE };
    pub(super) const DEFAULT_WORKDIR: Place = Place { name: "`defaults`", roots: OF_FILE };
    pub(super) const LOCK: Place = Place { name: "`lock`", roots: OF_FILE };
    /// The `with` of a used file, which must be known before anything runs.
    pub(super) const GIVEN: Place =
        Place { name: "the `with` of a file", roots: &[Root::Params, Root::Matrix] };
}

/// What has values where no step is near.
const OF_FILE: &[Root] = &[Root::Params, Root::Env, Root::Build, Root::Git, Root::Image];

/// What has values when a step is about to start, whatever ran before it.
const OF_GLOB: &[Root] = &[Root::Params, Root::Matrix, Root::Env, Root::Build, Root::Git, Root::Image];

/// What the expressions of a file can name.
pub(super) struct Scope {
    /// What the file declares.
    pub params: Vec<Param>,
    /// Names of several steps each, with the name of one of them.
    several: HashMap<String, String>,
    /// Combinations of the step's matrix: one for each way that the types of its values go.
    matrices: Vec<BTreeMap<String, JsonValue>>,
}

impl Default for Scope {
    fn default() -> Self {
        Scope { params: Vec::new(), several: HashMap::new(), matrices: vec![BTreeMap::new()] }
    }
}

impl Scope {
    /// Takes a look at the elements of `steps`, before any of them is read.
    pub(super) fn look_ahead(&mut self, elements: &[Value<'_>]) {
        for object in elements.iter().filter_map(|element| element.as_object()) {
            let Some(name) = object.get_string("name") else { continue };
            let example = if let Some(matrix) = object.get_object("matrix") {
                format!("{} ({})", name.value, first_values(matrix).join(", "))
            } else if object.get("uses").is_some_and(|uses| is_file(&uses.value)) {
                format!("{}/STEP", name.value)
            } else {
                continue;
            };
            self.several.insert(name.value.clone().into_owned(), example);
        }
    }

    /// Goes on to a step with these combinations.
    pub(super) fn enter(&mut self, cells: &[Cell]) {
        self.matrices.clear();
        if cells.iter().all(|cell| cell.values.is_empty()) {
            self.matrices.push(BTreeMap::new());
            return;
        }
        // A key that some have and others have not is there for all: `has(matrix.KEY)` tells them apart.
        let all: BTreeMap<_, _> = cells.iter().rev().flat_map(|cell| cell.values.clone()).collect();
        let mut known = HashSet::new();
        for cell in cells {
            let mut matrix = all.clone();
            matrix.extend(cell.values.clone());
            let types = |value: &JsonValue| (value.is_string(), value.is_boolean(), value.is_f64());
            if known.insert(matrix.values().map(types).collect::<Vec<_>>()) {
                self.matrices.push(matrix);
            }
        }
    }

    fn step(&self, name: &str) -> StepName {
        // The others may be in files that are not read yet; all are looked up when everything has its place.
        match self.several.get(name) {
            Some(example) => StepName::ManyCombinations(example.clone()),
            None => StepName::Known,
        }
    }

    fn parse<T>(
        &self,
        place: Place,
        parse: impl Fn(&Names<'_>) -> Result<T, Vec<ExpressionError>>,
    ) -> Result<T, Vec<ExpressionError>> {
        let steps = |name: &str| self.step(name);
        let Place { name, roots } = place;
        let names = |matrix| Names { params: &self.params, matrix, steps: &steps, roots, place: name };
        let mut parsed = Vec::new();
        for matrix in &self.matrices {
            parsed.push(parse(&names(matrix))?);
        }
        parsed.pop().ok_or_else(Vec::new)
    }
}

/// The values of a matrix's first combination, as its steps' names have them.
fn first_values(matrix: &Object<'_>) -> Vec<String> {
    let axes =
        matrix.properties.iter().filter(|property| !["include", "exclude"].contains(&property.name.as_str()));
    let first = axes.filter_map(|property| property.value.as_array()?.elements.first());
    first
        .filter_map(|value| match value {
            Value::StringLit(literal) => Some(literal.value.clone().into_owned()),
            Value::NumberLit(literal) => Some(literal.value.to_owned()),
            Value::BooleanLit(literal) => Some(literal.value.to_string()),
            _ => None,
        })
        .collect()
}

/// A string that may have expressions in it. What is wrong with them is reported, and the string stands for itself.
pub(super) fn template(reader: &mut Reader<'_>, string: &Spanned<String>, place: Place) -> Template {
    if !string.value.contains("${{") {
        return Template::plain(string.value.clone());
    }
    match reader.scope.parse(place, |names| Template::parse(&string.value, names)) {
        Ok(template) => {
            note_reads(reader, template.steps(), string);
            template
        }
        Err(errors) => {
            report(reader, errors, string);
            Template::plain(string.value.clone())
        }
    }
}

/// Reads `if`.
pub(super) fn read_if(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<Expression>> {
    const IF: Expected<'_> = Expected { name: "`if`", example: r#""if": "always()""# };
    let string = match value {
        Value::BooleanLit(literal) => {
            Spanned { value: literal.value.to_string(), span: reader.span(literal) }
        }
        Value::StringLit(_) => reader.string(value, IF)?,
        _ => return reader.wrong_type(value, "a string, true or false", IF),
    };
    if string.value.trim().is_empty() {
        let help = r#"write an expression, such as "always()", or remove it"#;
        reader.refuse(string.span, "`if` is empty", help);
        return None;
    }
    match reader.scope.parse(Place::IF, |names| Expression::parse(&string.value, names)) {
        Ok(expression) => {
            note_reads(reader, expression.steps(), &string);
            Some(Spanned { value: expression, span: string.span })
        }
        Err(errors) => {
            report(reader, errors, &string);
            None
        }
    }
}

fn note_reads<'r>(
    reader: &mut Reader<'_>,
    reads: impl IntoIterator<Item = &'r StepRead>,
    string: &Spanned<String>,
) {
    for read in reads {
        let span = part(reader, string, &read.range);
        reader.reads.push(Spanned { value: read.name.clone(), span });
    }
}

fn report(reader: &mut Reader<'_>, errors: Vec<ExpressionError>, string: &Spanned<String>) {
    for error in errors {
        let mut diagnostic = Diagnostic::new(part(reader, string, &error.range), error.message);
        diagnostic.help = error.help;
        reader.report(diagnostic);
    }
}

/// The place of a part of a string. With an escape in it, the file's text differs from the string; then it is the whole.
fn part(reader: &Reader<'_>, string: &Spanned<String>, range: &Range<usize>) -> Span {
    let raw = reader.raw(&string.span);
    let same = raw.len() == string.value.len() + 2 && raw.get(1..raw.len() - 1) == Some(&string.value);
    if same && range.end <= string.value.len() {
        let start = string.span.start + 1;
        return start + range.start..start + range.end;
    }
    string.span.clone()
}
