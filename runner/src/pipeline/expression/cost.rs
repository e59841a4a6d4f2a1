//! How much work an expression can be, at most, with the values that it gets.
//!
//! Only loops and what they give make more of what they read, so that is what is counted: for each node how many
//! elements and bytes its value can have, and how many bytes all steps together can touch.

use std::collections::BTreeMap;

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};
use serde_json::Value;

use super::syntax::children;

/// Expressions that could touch more are refused, in bytes and steps. It takes seconds at the very worst.
pub(super) const MAX_WORK: u64 = 20_000_000;

/// How big a value can be.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Its elements, if it is a list or a map.
    count: u64,
    /// Each of them, in bytes.
    element: u64,
    /// All of it, in bytes.
    bytes: u64,
}

impl Size {
    const SMALL: Size = Size { count: 0, element: 0, bytes: 8 };

    fn of(value: &Value) -> Self {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Size::SMALL,
            Value::String(text) => Size { bytes: text.len() as u64 + 8, ..Size::SMALL },
            Value::Array(list) => Size::of_all(list.iter().map(|value| Size::of(value).bytes)),
            Value::Object(map) => {
                Size::of_all(map.iter().map(|(key, value)| Size::of(value).bytes.max(key.len() as u64)))
            }
        }
    }

    fn of_all(elements: impl Iterator<Item = u64>) -> Self {
        elements.fold(Size::SMALL, |size, bytes| Size {
            count: size.count + 1,
            element: size.element.max(bytes),
            bytes: size.bytes.saturating_add(bytes),
        })
    }

    fn joined(self, other: Size) -> Size {
        Size {
            count: self.count.saturating_add(other.count),
            element: self.element.max(other.element),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn element(self) -> Size {
        Size { count: self.element, element: self.element, bytes: self.element }
    }
}

/// The most that evaluating `tree` can cost, in the unit of [`MAX_WORK`].
pub(super) fn work(tree: &IdedExpr, roots: &BTreeMap<&'static str, Value>) -> u64 {
    let mut count = Count { roots, bound: Vec::new(), work: 0, times: 1 };
    count.size(tree);
    count.work
}

struct Count<'c> {
    roots: &'c BTreeMap<&'static str, Value>,
    bound: Vec<(String, Size)>,
    work: u64,
    /// How often the node is evaluated.
    times: u64,
}

impl Count<'_> {
    fn size(&mut self, node: &IdedExpr) -> Size {
        let size = match (self.known(node), &node.expr) {
            (Some(value), _) => Size::of(value),
            (None, Expr::Ident(name)) => {
                let bound = self.bound.iter().rev().find(|(bound, _)| bound == name);
                bound.map_or(Size::SMALL, |(_, size)| *size)
            }
            (None, Expr::Literal(LiteralValue::String(text))) => {
                Size { bytes: text.inner().len() as u64 + 8, ..Size::SMALL }
            }
            (None, Expr::Literal(_) | Expr::Unspecified) => Size::SMALL,
            (None, Expr::Select(select)) => self.size(&select.operand).element(),
            (None, Expr::List(_) | Expr::Map(_) | Expr::Struct(_)) => {
                let mut elements = Vec::new();
                children(node, &mut |child| elements.push(self.size(child).bytes));
                Size::of_all(elements.into_iter())
            }
            (None, Expr::Call(call)) => {
                let mut sizes = Vec::new();
                children(node, &mut |child| sizes.push(self.size(child)));
                self.of_call(&call.func_name, &sizes)
            }
            (None, Expr::Comprehension(it)) => {
                let over = self.size(&it.iter_range);
                let start = self.size(&it.accu_init);
                // A string counts each of its bytes, should it turn out to be a list.
                let count = over.count.max(1);
                let before = self.times;
                self.times = before.saturating_mul(count);
                self.bound.push((it.iter_var.clone(), over.element()));
                self.bound.push((it.accu_var.clone(), start));
                let step = self.size(&it.loop_step);
                self.bound.truncate(self.bound.len() - 2);
                self.times = before;
                Size { count, element: step.bytes, bytes: step.bytes.saturating_mul(count) }
            }
        };
        let once = size.bytes.saturating_add(16);
        self.work = self.work.saturating_add(once.saturating_mul(self.times));
        size
    }

    /// What a call gives, from its target's size (if it has one) and its arguments'.
    fn of_call(&mut self, name: &str, sizes: &[Size]) -> Size {
        let all = sizes.iter().fold(Size::SMALL, |all, size| all.joined(*size));
        match name {
            operators::ADD | operators::CONDITIONAL => all,
            operators::INDEX => sizes.first().map_or(Size::SMALL, |of| of.element()),
            // Each byte of the text can become the replacement.
            "replace" => {
                let bytes = sizes.first().map_or(0, |text| text.bytes + 1);
                Size { bytes: bytes.saturating_mul(all.bytes), ..Size::SMALL }
            }
            "split" => Size { count: all.bytes, element: all.bytes, bytes: all.bytes.saturating_mul(16) },
            "join" => {
                let (list, between) = (sizes.first().copied().unwrap_or_default(), all.bytes);
                Size { bytes: list.bytes.saturating_add(list.count.saturating_mul(between)), ..Size::SMALL }
            }
            // A pattern is compiled each time.
            "matches" => {
                self.work = self.work.saturating_add(10_000_u64.saturating_mul(self.times));
                Size::SMALL
            }
            "string" | "trim" | "lowerAscii" | "upperAscii" | "substring" => all,
            _ => Size::SMALL,
        }
    }

    /// The value that a path such as `steps.build.outputs` has.
    fn known(&self, node: &IdedExpr) -> Option<&Value> {
        match &node.expr {
            Expr::Ident(name) if !self.bound.iter().any(|(bound, _)| bound == name) => {
                self.roots.get(name.as_str())
            }
            Expr::Select(select) => self.known(&select.operand)?.get(&select.field),
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                    self.known(of)?.get(key.inner())
                }
                _ => None,
            },
            _ => None,
        }
    }
}
