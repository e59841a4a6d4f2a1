//! What is taken from an answer as an output.

use dcd_plugin_sdk::http::Response;
use serde_json::Value;

/// Where an output's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Status,
    Body,
    Header(String),
    Pointer(String),
}

impl Take {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "status" => Ok(Self::Status),
            "body" => Ok(Self::Body),
            _ => match (text.strip_prefix("header:"), text.starts_with('/')) {
                (Some(""), _) => Err("`header:` must be followed by a header's name".into()),
                (Some(name), _) => Ok(Self::Header(name.to_owned())),
                (None, true) if has_valid_escapes(text) => Ok(Self::Pointer(text.to_owned())),
                (None, true) => Err(format!("{text:?} is not a JSON Pointer: `~` must be written as `~0`")),
                (None, false) => Err(format!(
                    "{text:?} is nothing that can be taken: use \"status\", \"body\", \"header:NAME\" or a JSON \
                     Pointer such as \"/id\""
                )),
            },
        }
    }

    /// The value, or why there is none.
    pub(crate) fn from(&self, answer: &Response) -> Result<Value, String> {
        match self {
            Self::Status => Ok(answer.status().into()),
            Self::Body => answer.text().map(Value::from).map_err(|error| error.to_string()),
            Self::Header(name) => {
                let value = answer.header_value(name).map(Value::from);
                value.ok_or_else(|| format!("the answer has no header `{name}`"))
            }
            Self::Pointer(pointer) => {
                let body: Value = answer.json().map_err(|error| error.to_string())?;
                body.pointer(pointer)
                    .cloned()
                    .ok_or_else(|| format!("the answer's body has nothing at {pointer:?}"))
            }
        }
    }
}

fn has_valid_escapes(pointer: &str) -> bool {
    pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_from_each_part() {
        let answer = Response::new(201).header("X-Id", "7").body(r#"{"a": [{"b/c": true}]}"#);
        for (text, value) in [("status", 201.into()), ("header:x-id", "7".into()), ("/a/0/b~1c", true.into())]
        {
            assert_eq!(Take::parse(text).and_then(|take| take.from(&answer)), Ok(value));
        }
        for missing in ["header:etag", "/a/1"] {
            assert!(Take::parse(missing).is_ok_and(|take| take.from(&answer).is_err()));
        }
        for wrong in ["", "id", "header:", "/a~2", "/a~"] {
            assert!(Take::parse(wrong).is_err(), "{wrong}");
        }
    }
}
