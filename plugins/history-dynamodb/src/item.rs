//! Items of the table, as `DynamoDB` writes them in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dcd_plugin_sdk::Error;
use serde_json::{Map, Value, json};

/// An item's attributes by their names.
pub(crate) type Item = Map<String, Value>;

/// An item's primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    pub(crate) fn item(&self) -> Item {
        Item::from_iter([("pk".to_owned(), text(&self.pk)), ("sk".to_owned(), text(&self.sk))])
    }

    /// An item with this key.
    pub(crate) fn with<const N: usize>(&self, attributes: [(&str, Value); N]) -> Item {
        let mut item = self.item();
        item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
        item
    }
}

pub(crate) fn text(value: &str) -> Value {
    json!({ "S": value })
}

pub(crate) fn number(value: u64) -> Value {
    json!({ "N": value.to_string() })
}

pub(crate) fn bytes(value: &[u8]) -> Value {
    json!({ "B": STANDARD.encode(value) })
}

pub(crate) fn find_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

pub(crate) fn find_number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.get("N")?.as_str()?.parse().ok()
}

pub(crate) fn find_bytes(item: &Item, name: &str) -> Option<Vec<u8>> {
    STANDARD.decode(item.get(name)?.get("B")?.as_str()?).ok()
}

pub(crate) fn get_text<'a>(item: &'a Item, name: &str) -> Result<&'a str, Error> {
    find_text(item, name).ok_or_else(|| damaged(item, name))
}

pub(crate) fn get_number(item: &Item, name: &str) -> Result<u64, Error> {
    find_number(item, name).ok_or_else(|| damaged(item, name))
}

/// The item cannot be what this plugin wrote.
pub(crate) fn damaged(item: &Item, what: &str) -> Error {
    let key = |name| find_text(item, name).unwrap_or("?");
    Error::other(format!("the item {} / {} of the table is damaged: {what}", key("pk"), key("sk")))
}

/// What the service counts as the item's size, in bytes, or a few more.
pub(crate) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let length = |kind: &str| value.get(kind).and_then(Value::as_str).map(str::len);
    length("S")
        .or_else(|| length("N").map(|digits| digits / 2 + 2))
        .or_else(|| length("B").map(|text| text / 4 * 3))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let item = Key::new("a", "b").with([
            ("text", text("grüezi")),
            ("number", number(u64::MAX)),
            ("bytes", bytes(&[0, 255, 10])),
        ]);
        assert_eq!(find_text(&item, "text"), Some("grüezi"));
        assert_eq!(find_number(&item, "number"), Some(u64::MAX));
        assert_eq!(find_bytes(&item, "bytes"), Some(vec![0, 255, 10]));
        assert_eq!(find_number(&item, "text"), None);
        assert_eq!(size(&item), 2 + 1 + 2 + 1 + 4 + 7 + 6 + 12 + 5 + 3);
        let error = get_number(&item, "end").unwrap_err();
        assert_eq!(error.to_string(), "the item a / b of the table is damaged: end");
    }
}
