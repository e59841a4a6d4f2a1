//! Text to tree, and what is wrong with the text in plain words.

use std::{ops::Range, sync::Arc};

use cel::{
    IdedExpr, ParseError,
    common::ast::{EntryExpr, Expr, SourceInfo, operators},
    parser::{
        PrattParser,
        pratt_parser::{Lexer, Token, TokenKind},
    },
};

use super::ExpressionError;
use crate::pipeline::printable;

/// Longer expressions are refused, in bytes: they belong into a script.
pub(super) const MAX_LENGTH: usize = 4096;

/// How deep brackets may be nested, and how many `? :` there may be. Each level of either costs the parser a few
/// hundred bytes of stack, twenty times that in a debug build.
const MAX_NESTING: u16 = 24;

/// How deep the tree may be; `a + b + c` is three deep. The evaluator needs up to 40 KiB of stack for each level in
/// a debug build.
const MAX_DEPTH: usize = 40;

/// An expression as the parser leaves it.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) source: &'a str,
    pub(super) tree: IdedExpr,
    info: Arc<SourceInfo>,
}

/// Parses one expression. The error's range is in `source`.
pub(super) fn parse(source: &str) -> Result<Parsed<'_>, ExpressionError> {
    check_size(source)?;
    let parser = PrattParser::new().error_recovery_limit(1).max_recursion_depth(2 * MAX_NESTING);
    let tree = parser.clone().parse(source).map_err(|errors| explain(source, errors.errors))?;
    if depth(&tree) > MAX_DEPTH {
        return Err(whole(source, "the expression has too many parts in one row")
            .help("split it, or work the value out in a step's script"));
    }
    // The parser gives the places of a tree's nodes only with an error, so it is given one behind the same text.
    let info = parser
        .parse(&format!("{source}\n)"))
        .err()
        .and_then(|errors| errors.errors.into_iter().find_map(|error| error.source_info))
        .unwrap_or_default();
    Ok(Parsed { source, tree, info })
}

impl ExpressionError {
    pub(super) fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        ExpressionError { range, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

fn whole(source: &str, message: &str) -> ExpressionError {
    ExpressionError::new(trimmed(source), message)
}

/// Where the text stands that is not white space.
fn trimmed(source: &str) -> Range<usize> {
    let start = source.len() - source.trim_start().len();
    start..start + source.trim().len()
}

/// The inner text of an `if` that is one single `${{ … }}`, else all of it.
pub(super) fn without_braces(text: &str) -> Range<usize> {
    let around = trimmed(text);
    let inside = text[around.clone()].strip_prefix("${{").map(|_| around.start + 3);
    match inside.and_then(|start| end_of_expression(text, start).map(|end| start..end)) {
        Some(inner) if inner.end + 2 == around.end => inner,
        _ => 0..text.len(),
    }
}

/// Where the `}}` stands that ends the expression that begins at `start`: not one in a string or a map. The text
/// after an expression is lexed only as far as that.
pub(super) fn end_of_expression(text: &str, start: usize) -> Option<usize> {
    let mut open: usize = 0;
    let mut from = start;
    loop {
        let rest = &text[from..];
        let mut tokens = Tokens::new(rest);
        loop {
            let token = tokens.next()?;
            match token.kind {
                TokenKind::TokLeftBrace => open += 1,
                TokenKind::TokRightBrace if open == 0 && rest[token.end..].starts_with('}') => {
                    return Some(from + token.start);
                }
                TokenKind::TokRightBrace => open = open.saturating_sub(1),
                // A comment does not reach beyond the end.
                TokenKind::TokComment => {
                    from += token.start + 2;
                    break;
                }
                _ => {}
            }
        }
    }
}

/// The tokens of some text, without the white space. What is no token is left out.
struct Tokens<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Tokens { text, lexer: Lexer::new(text) }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let token = self.lexer.lex();
            match token.kind {
                TokenKind::TokEnd => return None,
                // The lexer takes a character that it does not know byte by byte.
                TokenKind::TokError if !self.text.is_char_boundary(token.end) => {}
                TokenKind::TokWhitespace | TokenKind::TokError => {}
                _ => return Some(token),
            }
        }
    }
}

/// Refuses what would cost the parser too much stack or time.
fn check_size(source: &str) -> Result<(), ExpressionError> {
    if source.trim().is_empty() {
        return Err(ExpressionError::new(0..source.len(), "the expression is empty")
            .help("write what it should be, such as `params.target`"));
    }
    if source.len() > MAX_LENGTH {
        return Err(whole(source, &format!("the expression is longer than {MAX_LENGTH} bytes"))
            .help("work the value out in a step's script, and read it with steps.NAME.outputs"));
    }
    let (mut open, mut questions) = (0_u16, 0_u16);
    for token in Tokens::new(source) {
        match token.kind {
            TokenKind::TokLeftParen | TokenKind::TokLeftBracket | TokenKind::TokLeftBrace => open += 1,
            TokenKind::TokRightParen | TokenKind::TokRightBracket | TokenKind::TokRightBrace => {
                open = open.saturating_sub(1);
            }
            TokenKind::TokQuestion => questions += 1,
            _ => {}
        }
        if open > MAX_NESTING || questions > MAX_NESTING {
            return Err(ExpressionError::new(token.start..token.end, "the expression is nested too deeply")
                .help(format!("use at most {MAX_NESTING} brackets within each other, and as many `? :`")));
        }
    }
    Ok(())
}

/// How many nodes the longest way down has. Counted without recursion, as it is not bounded yet.
fn depth(tree: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut stack = vec![(tree, 1)];
    while let Some((node, level)) = stack.pop() {
        deepest = deepest.max(level);
        children(node, &mut |child| stack.push((child, level + 1)));
    }
    deepest
}

/// Calls `with` for each node right below.
pub(super) fn children<'t>(node: &'t IdedExpr, with: &mut dyn FnMut(&'t IdedExpr)) {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(with),
        Expr::Comprehension(it) => {
            [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
                .into_iter()
                .for_each(with);
        }
        Expr::List(list) => list.elements.iter().for_each(with),
        Expr::Select(select) => with(&select.operand),
        Expr::Map(_) | Expr::Struct(_) => {
            let entries = match &node.expr {
                Expr::Map(map) => &map.entries,
                Expr::Struct(it) => &it.entries,
                _ => return,
            };
            for entry in entries {
                match &entry.expr {
                    EntryExpr::StructField(field) => with(&field.value),
                    EntryExpr::MapEntry(entry) => {
                        with(&entry.key);
                        with(&entry.value);
                    }
                }
            }
        }
    }
}

impl Parsed<'_> {
    /// The token that the parser made a node of: a name, an operator, a bracket.
    pub(super) fn token(&self, node: &IdedExpr) -> Range<usize> {
        match self.info.offset_for(node.id) {
            Some((start, end)) if end as usize <= self.source.len() => start as usize..end as usize,
            _ => trimmed(self.source),
        }
    }

    /// The text that a node was made of.
    pub(super) fn range(&self, node: &IdedExpr) -> Range<usize> {
        let (start, end) = (self.start(node), self.end(node));
        if start < end { start..end } else { self.token(node) }
    }

    /// [`Parsed::range`], as text for messages.
    pub(super) fn text(&self, node: &IdedExpr) -> String {
        printable(self.source.get(self.range(node)).unwrap_or_default())
    }

    /// The name that a `.NAME` is about.
    pub(super) fn field(&self, select: &IdedExpr) -> Range<usize> {
        let dot = self.token(select);
        let name = self.source.get(dot.end..).and_then(|rest| {
            Tokens::new(rest).find(|token| token.kind != TokenKind::TokComment).map(|t| (t.start, t.end))
        });
        name.map_or(dot.clone(), |(start, end)| dot.end + start..dot.end + end)
    }

    /// The name behind `operand` and a dot.
    pub(super) fn field_after(&self, operand: &IdedExpr) -> Range<usize> {
        let end = self.end(operand);
        let rest = self.source.get(end..).unwrap_or_default();
        let name = Tokens::new(rest).find(|token| token.kind == TokenKind::TokIdent);
        name.map_or_else(|| self.range(operand), |token| end + token.start..end + token.end)
    }

    fn start(&self, node: &IdedExpr) -> usize {
        match &node.expr {
            Expr::Select(select) if !select.test => self.start(&select.operand),
            Expr::Comprehension(it) => self.start(&it.iter_range),
            Expr::Call(call) => match (&call.target, call.args.first()) {
                (Some(target), _) => self.start(target),
                (None, Some(first)) if is_operator(&call.func_name) && !is_prefix(&call.func_name) => {
                    self.start(first)
                }
                _ => self.token(node).start,
            },
            _ => self.token(node).start,
        }
    }

    fn end(&self, node: &IdedExpr) -> usize {
        let token = self.token(node);
        match &node.expr {
            Expr::Select(select) if !select.test => self.field(node).end,
            Expr::Select(_) => self.closing(token.end),
            Expr::Call(call) if call.func_name == operators::INDEX => self.closing(token.start),
            Expr::Call(call) if is_operator(&call.func_name) => {
                call.args.last().map_or(token.end, |last| self.end(last))
            }
            Expr::Call(call) if call.target.is_none() => self.closing(token.end),
            Expr::Call(_) | Expr::Comprehension(_) | Expr::List(_) | Expr::Map(_) => {
                self.closing(token.start)
            }
            _ => token.end,
        }
    }

    /// The end of the bracket that opens at `start` or is the next after it.
    fn closing(&self, start: usize) -> usize {
        let mut open = 0_usize;
        let rest = self.source.get(start..).unwrap_or_default();
        for token in Tokens::new(rest) {
            match token.kind {
                TokenKind::TokLeftParen | TokenKind::TokLeftBracket | TokenKind::TokLeftBrace => open += 1,
                TokenKind::TokRightParen | TokenKind::TokRightBracket | TokenKind::TokRightBrace => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return start + token.end;
                    }
                }
                _ => {}
            }
        }
        self.source.trim_end().len()
    }
}

/// CEL's tree calls operators by names that no function can have.
pub(super) fn is_operator(name: &str) -> bool {
    name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
}

fn is_prefix(name: &str) -> bool {
    name == operators::LOGICAL_NOT || name == operators::NEGATE
}

/// What the parser says of a text that it cannot read, for people. Only the first error: the others follow from it.
fn explain(source: &str, errors: Vec<ParseError>) -> ExpressionError {
    let Some(error) = errors.into_iter().find(|error| error.pos.0 > 0) else {
        return whole(source, "the expression is nested too deeply").help("split it");
    };
    let at = error
        .source_info
        .as_ref()
        .and_then(|info| info.offset_for(error.expr_id))
        .map_or_else(|| trimmed(source), |(start, end)| start as usize..end as usize);
    // The lexer takes characters beyond ASCII byte by byte.
    let mut at = at.start.min(source.len())..at.end.min(source.len());
    while !source.is_char_boundary(at.start) {
        at.start -= 1;
    }
    while !source.is_char_boundary(at.end) {
        at.end += 1;
    }
    let found = &source[at.clone()];
    if at.is_empty() || found.trim().is_empty() {
        let end = source.trim_end().len();
        return ExpressionError::new(at_end(source), ending(&error.msg))
            .help(format!("write the rest after `{}`", printable(last_word(&source[..end]))));
    }
    // `not x`: the name before is what was meant as an operator.
    let before = source[..at.start].trim_end();
    let (at, found) = match before.strip_suffix("not") {
        Some(rest) if !rest.ends_with(|c: char| c.is_ascii_alphanumeric() || "_.".contains(c)) => {
            (rest.len()..before.len(), "not")
        }
        _ => (at.clone(), found),
    };
    let (message, help) = in_words(&error.msg, found);
    let error = ExpressionError::new(at, message);
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// The last character, where something is missing behind it.
fn at_end(source: &str) -> Range<usize> {
    let text = source.trim_end();
    let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
    last..text.len()
}

fn last_word(text: &str) -> &str {
    text.rsplit(char::is_whitespace).next().unwrap_or(text)
}

fn ending(message: &str) -> String {
    match expected(message) {
        Some(bracket) => format!("the expression ends before its `{bracket}`"),
        None => "the expression ends too early".to_owned(),
    }
}

/// The bracket or sign that the parser waits for.
fn expected(message: &str) -> Option<char> {
    [")", "]", "}", ":"]
        .into_iter()
        .find(|sign| {
            message.ends_with(&format!("'{sign}'")) || message.starts_with(&format!("expected '{sign}'"))
        })
        .and_then(|sign| sign.chars().next())
}

fn in_words(message: &str, found: &str) -> (String, Option<String>) {
    let shown = printable(found);
    let help = |help: &str| Some(help.to_owned());
    match message {
        _ if message.starts_with("unterminated string") => {
            let quote = found.trim_start_matches(['r', 'R']).chars().next().unwrap_or('"');
            return (format!("the string is not closed: its second {quote} is missing"), None);
        }
        _ if message.starts_with("unable to unescape") || message.contains("unicode code point") => {
            return (
                format!("{shown} has an escape that does not exist"),
                help(r#"write \\ for a backslash, or put an r before the string: r"\d+""#),
            );
        }
        _ if message.contains("int literal") => {
            return (format!("{shown} is not an integer of 64 bits"), None);
        }
        _ if message.contains("literal") => return (format!("{shown} is not a number"), None),
        _ if message.starts_with("reserved identifier") => {
            return (format!("`{shown}` is a word that CEL keeps for itself"), help("use another name"));
        }
        _ if message.contains("has() macro") => {
            return (
                "has() takes a name and a field".to_owned(),
                help(r#"write has(steps.build.outputs.version), or "my-key" in steps.build.outputs"#),
            );
        }
        _ if message.contains("simple name") => {
            return (
                "a loop's first argument is a new name".to_owned(),
                help("such as list.exists(x, x > 1)"),
            );
        }
        _ if message.contains("unsupported syntax") => {
            return (
                "`?` has no meaning here".to_owned(),
                help("ask with has(), or write CONDITION ? A : B"),
            );
        }
        _ => {}
    }
    let help = match found {
        "=" => help("write == to compare"),
        "&" | "and" => help("write && for \"and\""),
        "|" | "or" => help("write || for \"or\""),
        "not" => help("write ! for \"not\""),
        "$" => help("in an expression names stand without $"),
        "{" => help("${{ }} does not go inside an expression; names stand there as they are"),
        "`" => help(r#"put strings into " or '"#),
        _ => expected(message).map(|sign| format!("a `{sign}` is missing before it")),
    };
    (format!("`{shown}` is not expected here"), help)
}
