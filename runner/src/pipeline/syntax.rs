//! From text to a JSON syntax tree, with errors that say more than "unexpected token".

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::Value,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use super::{Diagnostic, Span, diagnostic::printable};

/// What is read into the tree is walked by recursion; nobody nests a pipeline deeper.
const MAX_DEPTH: usize = 64;

const MINIMAL: &str = r#"write at least { "steps": [{ "name": "test", "run": "make test" }] }"#;

/// JSON with comments and trailing commas, and nothing else that the parser would let pass.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads the text's one JSON value.
pub(super) fn parse(text: &str) -> Result<Value<'_>, Box<Diagnostic>> {
    let shape = match check_shape(text) {
        Err(Flaw::Fatal(diagnostic)) => return Err(diagnostic),
        Err(Flaw::Bracket(diagnostic)) => Some(diagnostic),
        Ok(()) => None,
    };
    match parse_to_ast(text, &CollectOptions::default(), &OPTIONS) {
        Ok(result) => match (result.value, shape) {
            (_, Some(flaw)) => Err(flaw),
            (Some(value), None) => Ok(value),
            (None, None) => Err(Box::new(Diagnostic::new(0..0, "the file is empty").help(MINIMAL))),
        },
        // A bracket is often missed far below the place where the text went wrong.
        Err(error) => Err(match shape {
            Some(flaw) if flaw.span.start <= error.range().start || is_unclosed(&error) => flaw,
            _ => Box::new(explain(&error, text)),
        }),
    }
}

fn is_unclosed(error: &ParseError) -> bool {
    matches!(error.kind(), ParseErrorKind::UnterminatedObject | ParseErrorKind::UnterminatedArray)
}

/// What can be seen without a parser.
enum Flaw {
    /// The parser must not see this text, or would misread it.
    Fatal(Box<Diagnostic>),
    /// The parser may find an earlier reason for it.
    Bracket(Box<Diagnostic>),
}

/// A bracket that waits to be closed.
struct Open {
    at: usize,
    bracket: u8,
    indent: usize,
}

/// Checks that strings end on their line, that brackets match, and how deep they go.
fn check_shape(text: &str) -> Result<(), Flaw> {
    let bytes = text.as_bytes();
    let mut open: Vec<Open> = Vec::new();
    let mut misindented: Option<Span> = None;
    let mut line_start = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line_start = at + 1,
            b'"' => at = end_of_string(text, at)?,
            b'/' => {
                // A block comment may end on a later line.
                let end = end_of_comment(bytes, at)?;
                if let Some(newline) = text[at..end].rfind('\n') {
                    line_start = at + newline + 1;
                }
                at = end.max(at + 1) - 1;
            }
            b'{' | b'[' => {
                open.push(Open { at, bracket: *byte, indent: indent_of(bytes, line_start) });
                if open.len() > MAX_DEPTH {
                    let diagnostic =
                        Diagnostic::new(at..at + 1, format!("nested more than {MAX_DEPTH} levels deep"))
                            .help("take out a level; a pipeline needs three or four");
                    return Err(Flaw::Fatal(Box::new(diagnostic)));
                }
            }
            b'}' | b']' => {
                let Some(opener) = open.pop() else {
                    let message = format!("this `{}` closes nothing", char::from(*byte));
                    let diagnostic = Diagnostic::new(at..at + 1, message).help("remove it");
                    return Err(Flaw::Bracket(Box::new(diagnostic)));
                };
                if closing(opener.bracket) != *byte {
                    return Err(Flaw::Bracket(Box::new(mismatch(&opener, at, *byte))));
                }
                let indent = indent_of(bytes, line_start);
                if line_start + indent == at && indent != opener.indent && misindented.is_none() {
                    misindented = Some(opener.at..opener.at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    match open.pop() {
        Some(opener) => Err(Flaw::Bracket(Box::new(unclosed(&opener, misindented)))),
        None => Ok(()),
    }
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

fn indent_of(bytes: &[u8], line_start: usize) -> usize {
    bytes[line_start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

fn mismatch(opener: &Open, at: usize, found: u8) -> Diagnostic {
    let expected = char::from(closing(opener.bracket));
    let found = char::from(found);
    Diagnostic::new(at..at + 1, format!("expected `{expected}`, found `{found}`"))
        .related(opener.at..opener.at + 1, format!("this `{}` is still open", char::from(opener.bracket)))
        .help(format!("write the missing `{expected}` before the `{found}`"))
}

fn unclosed(opener: &Open, misindented: Option<Span>) -> Diagnostic {
    let bracket = char::from(opener.bracket);
    let expected = char::from(closing(opener.bracket));
    match misindented {
        Some(span) => Diagnostic::new(span, format!("a `{expected}` is missing"))
            .label("probably for this one: what closes it is indented otherwise")
            .related(opener.at..opener.at + 1, format!("this `{bracket}` is left open at the end"))
            .help("close each bracket in a line that is indented like the one that opens it"),
        None => Diagnostic::new(opener.at..opener.at + 1, format!("this `{bracket}` is never closed"))
            .help(format!("write the missing `{expected}`")),
    }
}

/// The last byte of the string that starts at `start`.
fn end_of_string(text: &str, start: usize) -> Result<usize, Flaw> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at),
            b'\n' | b'\r' => break,
            b'\\' if bytes.get(at + 1).is_some_and(|next| !matches!(next, b'\n' | b'\r')) => at += 1,
            0..0x20 if *byte != b'\t' => {
                let message = format!("a control character (U+{byte:04X}) stands in a string");
                let diagnostic = Diagnostic::new(at..at + 1, message)
                    .help(format!("remove it, or write it as \\u{byte:04x} where it is wanted"));
                return Err(Flaw::Fatal(Box::new(diagnostic)));
            }
            _ => {}
        }
        at += 1;
    }
    let diagnostic = Diagnostic::new(start..at.min(bytes.len()), "this string is not closed on its line")
        .help("close it with \"; inside a string, a new line is written \\n and a quote \\\"");
    Err(Flaw::Fatal(Box::new(diagnostic)))
}

/// The byte after the comment that may start at `start`.
fn end_of_comment(bytes: &[u8], start: usize) -> Result<usize, Flaw> {
    let rest = &bytes[start..];
    match rest.get(1) {
        // The line end is left for the caller, who counts lines.
        Some(b'/') => Ok(start + memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())),
        // "/*/" is not a whole comment.
        Some(b'*') => memchr::memmem::find(&rest[2..], b"*/").map(|end| start + end + 4).ok_or_else(|| {
            let diagnostic =
                Diagnostic::new(start..start + 2, "this comment is never closed").help("close it with */");
            Flaw::Fatal(Box::new(diagnostic))
        }),
        _ => Ok(start + 1),
    }
}

/// The parser's error in our words.
fn explain(error: &ParseError, text: &str) -> Diagnostic {
    use ParseErrorKind as Kind;
    let range = error.range();
    let mut span = range.start..range.end.max(range.start);
    let found = found_at(text, range.start);
    let diagnostic = |span: &Span, message: String| Diagnostic::new(span.clone(), message);
    match error.kind() {
        Kind::ExpectedComma => diagnostic(&span, "a comma is missing".to_owned()).label("write `,` here"),
        Kind::ExpectedColonAfterObjectKey => {
            diagnostic(&span, format!("expected `:` after the key, found {found}"))
                .help(r#"a key and its value are written like "name": "test""#)
        }
        Kind::ExpectedObjectValue | Kind::UnexpectedCloseBrace | Kind::UnexpectedCloseBracket => {
            diagnostic(&span, format!("expected a value, found {found}"))
        }
        Kind::UnexpectedComma => diagnostic(&span, "expected a value, found `,`".to_owned()).help("remove this comma"),
        Kind::UnexpectedColon => diagnostic(&span, "expected a value, found `:`".to_owned())
            .help("keys belong into braces: { \"key\": \"value\" }"),
        Kind::UnexpectedTokenInObject => {
            diagnostic(&span, format!("expected a key in double quotes or `}}`, found {found}"))
        }
        Kind::ExpectedStringObjectProperty => {
            span = word_span(text, span.start);
            let word = printable(&text[span.clone()]);
            diagnostic(&span, "a key must stand in double quotes".to_owned()).help(format!("write \"{word}\""))
        }
        Kind::UnexpectedWord | Kind::UnexpectedToken => {
            span = word_span(text, span.start);
            unexpected_word(span, text)
        }
        Kind::SingleQuotedStringsNotAllowed => {
            diagnostic(&span, "strings take double quotes".to_owned()).help("write \" instead of '")
        }
        Kind::MultipleRootJsonValues => diagnostic(&span, format!("expected the end of the file, found {found}"))
            .help("the file is one JSON object; everything stands between its first `{` and the `}` that closes it"),
        Kind::String(kind) => diagnostic(&span, format!("not a JSON string: {}", lower_first(&kind.to_string())))
            .help("the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX; a single backslash is written \\\\"),
        other => diagnostic(&span, format!("not JSON: {}", lower_first(&other.to_string())))
            .help("a number is written like 10, -1 or 2.5; most values of a pipeline are strings in double quotes"),
    }
}

fn unexpected_word(span: Span, text: &str) -> Diagnostic {
    let word = &text[span.clone()];
    let is_first = !text[..span.start].contains(['{', '[', '"']);
    let diagnostic = Diagnostic::new(span, format!("`{}` is not JSON", printable(word)));
    if is_first {
        return diagnostic.help("a pipeline file is JSON, and starts with `{`");
    }
    match word.to_lowercase().as_str() {
        "true" | "yes" | "on" => diagnostic.help("write true, or \"true\" where a string is wanted"),
        "false" | "no" | "off" => diagnostic.help("write false, or \"false\" where a string is wanted"),
        "none" | "nil" | "undefined" => diagnostic.help("leave the key out"),
        _ if word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '$' | '.' | '/')) => {
            diagnostic.help(format!("write strings in double quotes: \"{}\"", printable(word)))
        }
        _ => diagnostic.help("remove it, or write it in double quotes if it is part of a string"),
    }
}

/// The word at `start`, or else the one character.
fn word_span(text: &str, start: usize) -> Span {
    let rest = &text[start..];
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '"' | '\'');
    let first = rest.chars().next().map_or(0, char::len_utf8);
    start..start + rest.find(is_end).unwrap_or(rest.len()).max(first)
}

fn found_at(text: &str, at: usize) -> String {
    match text[at..].chars().next() {
        None => "the end of the file".to_owned(),
        Some('"') => "a string".to_owned(),
        Some(_) => format!("`{}`", printable(&text[word_span(text, at)])),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn depth_is_bounded_before_the_parser_sees_the_text() {
        for bracket in ["[", "{\"a\":", "[{\"a\":"] {
            let text = bracket.repeat(100_000);
            assert_eq!(
                parse(&text).map_err(|error| error.message),
                Err("nested more than 64 levels deep".to_owned())
            );
        }
        assert!(parse(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        for text in ["[\"{[\\\"\", 1] // [{", "/* { */ [] /*/ ] */", "[1,]//", "{}/", "{}/*"] {
            assert_eq!(parse(text).is_ok(), !text.ends_with(['*']) && !text.ends_with("}/"), "{text}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let alphabet = [
            "{", "}", "[", "]", "\"", "\\", "/", "*", ",", ":", "1", "é", "\n", "\r", "a", "'", "-", "\u{0}",
        ];
        let mut state: u32 = 1;
        for _ in 0..200_000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(alphabet[state as usize / 65_536 % alphabet.len()]);
            }
            let _ = parse(&text);
        }
    }
}
