//! Which statuses of an answer are a success.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Findings;

/// Which statuses are a success.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expect {
    /// One, or one class.
    One(Status),
    /// Any of these.
    AnyOf(Vec<Status>),
}

/// A status, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Status {
    /// A status code.
    Code(#[schemars(range(min = 100, max = 599))] u16),
    /// A class, such as "2xx".
    Class(#[schemars(regex(pattern = r"^[1-5]xx$"))] String),
}

/// Statuses that are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Vec<Status>);

impl Expected {
    /// What the configuration says at `pointer`; without anything, `2xx`.
    pub fn new(expect: Option<&Expect>, pointer: &str, findings: &mut Findings) -> Self {
        let (expected, is_list) = match expect {
            None => (vec![Status::Class("2xx".into())], false),
            Some(Expect::One(status)) => (vec![status.clone()], false),
            Some(Expect::AnyOf(list)) => (list.clone(), true),
        };
        if expected.is_empty() {
            findings.add(pointer, "an empty list lets nothing succeed");
        }
        for (index, status) in expected.iter().enumerate() {
            let wrong = match status {
                Status::Code(code) if (100..600).contains(code) => continue,
                Status::Class(class) if class_number(class) > 0 => continue,
                Status::Code(code) => code.to_string(),
                Status::Class(class) => format!("{class:?}"),
            };
            let pointer = if is_list { format!("{pointer}/{index}") } else { pointer.to_owned() };
            findings.add(
                pointer,
                format!("{wrong} is not a status: use a number from 100 to 599 or a class like \"2xx\""),
            );
        }
        Self(expected)
    }

    /// Whether this status is a success.
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|expected| match expected {
            Status::Code(code) => *code == status,
            Status::Class(class) => status / 100 == class_number(class),
        })
    }

    /// What is expected, in words.
    pub fn words(&self) -> String {
        let one = |status: &Status| match status {
            Status::Code(code) => code.to_string(),
            Status::Class(class) => class.clone(),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" or ")
    }
}

/// 2 for `2xx`; 0 for what is no class.
fn class_number(class: &str) -> u16 {
    match class.as_bytes() {
        [digit @ b'1'..=b'5', b'x', b'x'] => u16::from(digit - b'0'),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_expected_by_number_and_class() {
        let list = Expect::AnyOf(vec![Status::Code(404), Status::Class("2xx".into())]);
        let mut findings = Findings::default();
        let expected = Expected::new(Some(&list), "/s", &mut findings);
        assert!(expected.has(404) && expected.has(299) && !expected.has(304));
        assert_eq!(expected.words(), "404 or 2xx");
        assert!(findings.0.is_empty());
        let list = Expect::AnyOf(vec![Status::Code(7), Status::Class("20x".into())]);
        Expected::new(Some(&list), "/s", &mut findings);
        Expected::new(Some(&Expect::AnyOf(Vec::new())), "/t", &mut findings);
        let pointers: Vec<_> = findings.0.into_iter().map(|finding| finding.pointer).collect();
        assert_eq!(pointers, ["/s/0", "/s/1", "/t"]);
    }
}
