//! Requests, but for the table's name.

use serde_json::{Map, Value, json};

use crate::item::{Item, Key, text};

/// The body of a request. Names in its expressions begin with `#`, since so many words are reserved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    body: Map<String, Value>,
    names: Map<String, Value>,
    values: Map<String, Value>,
}

impl Request {
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// `GetItem`, with all that was written before.
    pub(crate) fn get(key: &Key) -> Self {
        Self::empty().with("Key", key.item()).with("ConsistentRead", true)
    }

    /// `PutItem`.
    pub(crate) fn put(item: Item) -> Self {
        Self::empty().with("Item", item)
    }

    /// `UpdateItem`, which answers the whole item.
    pub(crate) fn update(key: &Key, expression: &str) -> Self {
        Self::empty()
            .with("Key", key.item())
            .with("ReturnValues", "ALL_NEW")
            .with("UpdateExpression", expression)
            .named(expression)
    }

    /// `DeleteItem`.
    pub(crate) fn delete(key: &Key) -> Self {
        Self::empty().with("Key", key.item())
    }

    /// `Query` for the items of `pk` from one sort key to another, both included; with all that was written before.
    pub(crate) fn query(pk: &str, from: &str, to: &str) -> Self {
        let condition = "#pk = :pk AND #sk BETWEEN :from AND :to";
        Self::empty()
            .with("KeyConditionExpression", condition)
            .with("ConsistentRead", true)
            .named(condition)
            .value(":pk", text(pk))
            .value(":from", text(from))
            .value(":to", text(to))
    }

    /// The same query from its end.
    pub(crate) fn backwards(self) -> Self {
        self.with("ScanIndexForward", false)
    }

    pub(crate) fn limit(self, limit: usize) -> Self {
        self.with("Limit", limit)
    }

    /// Only these attributes, as in `#sk, #run`.
    pub(crate) fn only(self, attributes: &str) -> Self {
        self.with("ProjectionExpression", attributes).named(attributes)
    }

    pub(crate) fn condition(self, expression: &str) -> Self {
        self.with("ConditionExpression", expression).named(expression)
    }

    /// The value that the expressions call `name`.
    pub(crate) fn value(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// `BatchGetItem`, whose body names the table by itself, with all that was written before.
    pub(crate) fn keys(table: &str, keys: &[Key]) -> Self {
        let keys: Vec<Value> = keys.iter().map(|key| key.item().into()).collect();
        Self::empty().with("RequestItems", json!({ table: { "Keys": keys, "ConsistentRead": true } }))
    }

    pub(crate) fn into_body(self, table: &str) -> Vec<u8> {
        self.with("TableName", table).into_whole_body()
    }

    /// The body of a request that does not want the table's name.
    pub(crate) fn into_whole_body(mut self) -> Vec<u8> {
        for (name, map) in
            [("ExpressionAttributeNames", self.names), ("ExpressionAttributeValues", self.values)]
        {
            if !map.is_empty() {
                self.body.insert(name.to_owned(), map.into());
            }
        }
        Value::Object(self.body).to_string().into_bytes()
    }

    /// Says which attributes the names of an expression are.
    fn named(mut self, expression: &str) -> Self {
        for part in expression.split('#').skip(1) {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            self.names.insert(format!("#{}", &part[..end]), part[..end].into());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_expressions_are_said() {
        let request = Request::update(&Key::new("a", "b"), "SET #next = :end, #expires = :at")
            .condition("#lease = :lease AND #next = :start")
            .value(":end", json!({ "N": "7" }));
        let body: Value = serde_json::from_slice(&request.into_body("builds")).unwrap();
        assert_eq!(
            body["ExpressionAttributeNames"],
            json!({ "#next": "next", "#expires": "expires", "#lease": "lease" })
        );
        assert_eq!(body["ExpressionAttributeValues"], json!({ ":end": { "N": "7" } }));
        assert_eq!(body["TableName"], "builds");
        let body = Request::delete(&Key::new("a", "b")).condition("attribute_exists(pk)").into_body("t");
        assert!(!String::from_utf8(body).unwrap().contains("Names"));
    }
}
