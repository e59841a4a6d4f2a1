//! Expressions where the file has them: from a string of the file to a [`Template`] or an [`Expression`].

use jsonc_parser::ast::Value;

use super::{
    Diagnostic, Spanned,
    expression::{Expression, Template},
    reader::{Expected, Reader},
};

/// Where an expression stands, which says what it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A step's `env`, `workdir` or `with`.
    Step,
    /// What belongs to a file: its `env`, its defaults, its `lock`.
    File,
    /// What a used file is given.
    Given,
}

/// A string that may have expressions in it.
pub(super) fn template(_reader: &mut Reader<'_>, string: &Spanned<String>, _place: Place) -> Template {
    Template::plain(string.value.clone())
}

/// Reads `if`.
pub(super) fn read_if(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<Expression>> {
    const IF: Expected<'_> = Expected { name: "`if`", example: r#""if": "always()""# };
    let at = reader.span(value);
    if let Value::BooleanLit(literal) = value {
        return Some(Spanned { value: Expression::unchecked(literal.value.to_string()), span: at });
    }
    if value.as_string_lit().is_none() {
        return reader.wrong_type(value, "a string, true or false", IF);
    }
    let string = reader.string(value, IF)?;
    let (_, text) = bare(&string.value);
    if text.trim().is_empty() {
        let help = r#"write an expression, such as "always()", or remove it"#;
        reader.report(Diagnostic::new(at, "`if` is empty").help(help));
        return None;
    }
    if text.contains("${{") {
        reader.refuse_expression(
            text,
            &at,
            "an `if` is one expression; write it without `${{` and `}}`, as in \"params.target == 'prod'\"",
        );
        return None;
    }
    Some(Spanned { value: Expression::unchecked(text), span: at })
}

/// The text without the `${{ }}` that may stand around the whole of it, and how much was cut off before it.
fn bare(text: &str) -> (usize, &str) {
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    match inner {
        Some(inner) if !inner.contains("${{") => (text.len() - text.trim_start().len() + 3, inner),
        _ => (0, text),
    }
}
