//! `matrix`: one step for each combination of values, by GitHub's rules.

use std::collections::{BTreeMap, HashSet};

use jsonc_parser::ast::Value;
use serde_json::Value as JsonValue;

use super::{
    Diagnostic, Span,
    diagnostic::{did_you_mean, printable},
    names::check_identifier,
    reader::{Expected, Reader, listed},
    values::{object_to, read_scalar},
};

/// More is a slip: a list pasted into a list.
pub(super) const MAX_COMBINATIONS: usize = 1_000;

/// Values are part of names, which are columns of a list on a terminal.
const MAX_VALUE: usize = 100;

const MATRIX: Expected<'_> =
    Expected { name: "`matrix`", example: r#""matrix": { "arch": ["amd64", "arm64"] }"# };

/// A combination, its values in the order of the file.
type Combination = Vec<(String, JsonValue)>;

/// One step of a matrix; without values, the one of a step that has none.
#[derive(Default)]
pub(super) struct Cell {
    /// What is added to the step's name: ` (amd64, 1)`.
    pub suffix: String,
    pub values: BTreeMap<String, JsonValue>,
}

/// Reads `matrix`; the combinations are at least one. `None`: what is wrong has been reported.
pub(super) fn read_matrix(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Cell>> {
    let object = reader.object(value, MATRIX)?;
    let mut sound = true;
    let (mut axes, mut include, mut exclude) = (Vec::new(), Vec::new(), Vec::new());
    for (key, at, value) in reader.entries(object) {
        match key {
            "include" => include = read_objects(reader, value, "include", &mut sound),
            "exclude" => exclude = read_objects(reader, value, "exclude", &mut sound),
            _ => {
                sound &= identifier(reader, key, &at);
                let values = read_axis(reader, key, value);
                sound &= values.is_some();
                axes.push((key.to_owned(), values.unwrap_or_default()));
            }
        }
    }
    if !sound {
        return None;
    }
    let at = reader.span(object);
    let count = axes.iter().fold(1_usize, |count, (_, values)| count.saturating_mul(values.len()));
    if count.saturating_add(include.len()) > MAX_COMBINATIONS {
        let message = format!("this `matrix` has more than {MAX_COMBINATIONS} combinations");
        reader.refuse(at, message, "leave out values, or make several steps of it");
        return None;
    }
    let mut product = if axes.is_empty() { Vec::new() } else { multiply(&axes) };
    for (pairs, at) in &exclude {
        apply_exclude(reader, &axes, &mut product, pairs, at)?;
    }
    let combinations = apply_include(&product, include);
    if combinations.is_empty() {
        let help = format!("write it like {}, or remove it", MATRIX.example);
        reader.refuse(at, "this `matrix` has no combination", help);
        return None;
    }
    refuse_equal(reader, &combinations, &at)?;
    Some(combinations.into_iter().map(cell).collect())
}

fn identifier(reader: &mut Reader<'_>, key: &str, at: &Span) -> bool {
    let objection = check_identifier(key).err();
    let sound = objection.is_none();
    if let Some(objection) = objection {
        object_to(reader, at, &format!("the matrix key `{}`", printable(key)), objection);
    }
    sound
}

fn read_axis(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<Vec<JsonValue>> {
    let name = format!("`{}` in `matrix`", printable(key));
    let array = reader.array(value, Expected { name: &name, example: MATRIX.example })?;
    if array.elements.is_empty() {
        reader.refuse(reader.span(array), format!("{name} is empty"), "write at least one value");
        return None;
    }
    let values: Vec<_> = array.elements.iter().map(|value| read_value(reader, key, value)).collect();
    values.into_iter().collect()
}

fn read_value(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<JsonValue> {
    let name = format!("a value of `{}` in `matrix`", printable(key));
    let scalar = read_scalar(reader, value, Expected { name: &name, example: r#""amd64", 3 or true"# })?;
    let chars = shown(&scalar).chars().count();
    if chars > MAX_VALUE {
        let help = format!("use at most {MAX_VALUE} characters; values are part of the step's name");
        reader.refuse(reader.span(value), format!("{name} is too long: {chars} characters"), help);
        return None;
    }
    if shown(&scalar).chars().any(super::diagnostic::is_unprintable) {
        let help = "use values on one line without control characters; they are part of the step's name";
        reader.refuse(reader.span(value), format!("{name} has a character that cannot be shown"), help);
        return None;
    }
    Some(scalar)
}

fn read_objects(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    sound: &mut bool,
) -> Vec<(Combination, Span)> {
    let name = format!("`{key}` in `matrix`");
    let example = format!(r#""{key}": [{{ "arch": "arm64" }}]"#);
    let expected = Expected { name: &name, example: &example };
    let Some(array) = reader.array(value, expected) else {
        *sound = false;
        return Vec::new();
    };
    let mut objects = Vec::new();
    for element in &array.elements {
        let name = format!("an element of {name}");
        let Some(object) = reader.object(element, Expected { name: &name, example: &example }) else {
            *sound = false;
            continue;
        };
        let mut pairs = Vec::new();
        for (key, at, value) in reader.entries(object) {
            *sound &= identifier(reader, key, &at);
            match read_value(reader, key, value) {
                Some(value) => pairs.push((key.to_owned(), value)),
                None => *sound = false,
            }
        }
        if object.properties.is_empty() {
            reader.refuse(
                reader.span(object),
                format!("{name} is empty"),
                format!("write it like {example}"),
            );
            *sound = false;
        }
        objects.push((pairs, reader.span(object)));
    }
    objects
}

/// All combinations; the last key changes fastest.
fn multiply(axes: &[(String, Vec<JsonValue>)]) -> Vec<Combination> {
    let mut product: Vec<Combination> = vec![Vec::new()];
    for (key, values) in axes {
        let longer = |shorter: &Combination| {
            let shorter = shorter.clone();
            values.iter().map(move |value| [&shorter[..], &[(key.clone(), value.clone())]].concat())
        };
        product = product.iter().flat_map(longer).collect();
    }
    product
}

fn apply_exclude(
    reader: &mut Reader<'_>,
    axes: &[(String, Vec<JsonValue>)],
    product: &mut Vec<Combination>,
    pairs: &Combination,
    at: &Span,
) -> Option<()> {
    let keys = || axes.iter().map(|(key, _)| key.as_str());
    if let Some((unknown, _)) = pairs.iter().find(|(key, _)| keys().all(|known| known != key)) {
        let message = format!("this `exclude` names `{}`, which is no key of the matrix", printable(unknown));
        let diagnostic = Diagnostic::new(at.clone(), message);
        reader.report(match did_you_mean(unknown, keys()) {
            Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
            None if axes.is_empty() => diagnostic.help("remove it; there is nothing to exclude from"),
            None => diagnostic.help(format!("the keys are {}", listed(keys(), "and"))),
        });
        return None;
    }
    let before = product.len();
    product.retain(|combination| !pairs.iter().all(|pair| combination.contains(pair)));
    if product.len() == before {
        let help = "mend its values (\"1\" and 1 are different), or remove it";
        reader.refuse(at.clone(), "this `exclude` matches no combination", help);
        return None;
    }
    Some(())
}

/// An object is added to each combination of the product in which it changes no value of it; one that fits nowhere
/// is a combination of its own.
fn apply_include(product: &[Combination], include: Vec<(Combination, Span)>) -> Vec<Combination> {
    let mut combinations = product.to_vec();
    let mut own = Vec::new();
    for (pairs, _) in include {
        let mut fits = false;
        for (original, combination) in product.iter().zip(&mut combinations) {
            let value = |key: &str| original.iter().find(|(known, _)| known == key).map(|(_, value)| value);
            if pairs.iter().any(|(key, new)| value(key).is_some_and(|old| old != new)) {
                continue;
            }
            fits = true;
            for (key, new) in &pairs {
                match combination.iter_mut().find(|(known, _)| known == key) {
                    Some((_, old)) => *old = new.clone(),
                    None => combination.push((key.clone(), new.clone())),
                }
            }
        }
        if !fits {
            own.push(pairs);
        }
    }
    combinations.extend(own);
    combinations
}

/// Steps are told apart by their names.
fn refuse_equal(reader: &mut Reader<'_>, combinations: &[Combination], at: &Span) -> Option<()> {
    let mut seen = HashSet::new();
    for combination in combinations {
        let suffix = suffix(combination);
        if !seen.insert(suffix.clone()) {
            let message = format!("this `matrix` has the combination `{}` twice", printable(suffix.trim()));
            reader.refuse(at.clone(), message, "leave one of them out; a step's name is made of the values");
            return None;
        }
    }
    Some(())
}

fn suffix(combination: &Combination) -> String {
    let values: Vec<_> = combination.iter().map(|(_, value)| shown(value)).collect();
    format!(" ({})", values.join(", "))
}

fn shown(value: &JsonValue) -> String {
    match value {
        JsonValue::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cell(combination: Combination) -> Cell {
    Cell { suffix: suffix(&combination), values: combination.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse;

    fn names(matrix: &str) -> Vec<String> {
        let text = format!(r#"{{ "steps": [{{ "name": "x", "run": "make", "matrix": {matrix} }}] }}"#);
        let pipeline = parse(&text, "dcd.json", &mut |_| Err(String::new())).unwrap();
        pipeline.steps.into_iter().map(|step| step.name.value).collect()
    }

    #[test]
    fn the_last_key_changes_fastest() {
        let names = names(r#"{ "b": [1, 2.5], "a": [true, "two"] }"#);
        assert_eq!(names, ["x (1, true)", "x (1, two)", "x (2.5, true)", "x (2.5, two)"]);
    }

    #[test]
    fn exclude_takes_out_what_has_all_its_values() {
        let names = names(r#"{ "a": [1, 2], "b": [1, 2], "exclude": [{ "a": 1 }, { "a": 2, "b": 2 }] }"#);
        assert_eq!(names, ["x (2, 1)"]);
    }

    /// The example of GitHub's documentation.
    #[test]
    fn include_adds_where_it_changes_no_value_and_is_its_own_combination_elsewhere() {
        let names = names(
            r#"{
              "fruit": ["apple", "pear"], "animal": ["cat", "dog"],
              "include": [
                { "color": "green" }, { "color": "pink", "animal": "cat" }, { "fruit": "apple", "shape": "circle" },
                { "fruit": "banana" }, { "fruit": "banana", "animal": "cat" }
              ]
            }"#,
        );
        assert_eq!(
            names,
            [
                "x (apple, cat, pink, circle)",
                "x (apple, dog, green, circle)",
                "x (pear, cat, pink)",
                "x (pear, dog, green)",
                "x (banana)",
                "x (banana, cat)",
            ]
        );
    }

    #[test]
    fn include_alone_is_a_matrix() {
        assert_eq!(names(r#"{ "include": [{ "a": 1 }, { "a": 2, "b": 3 }] }"#), ["x (1)", "x (2, 3)"]);
    }
}
