//! The values of params: which ones they take, and what a build runs with.

use std::collections::BTreeMap;

use serde_json::{Number, Value, json};

use super::{
    Param, ParamType, Pipeline, TemplateValue,
    diagnostic::{did_you_mean, printable},
    expression::Variables,
    reader::listed,
};

/// Why a param has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParamError {
    /// Which param, what was given, and what is wrong with that.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

impl ParamType {
    /// Whether a JSON value is one of this type.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            ParamType::String => value.is_string(),
            // 2.0 is whole, but not every program reads it so.
            ParamType::Integer => value.is_i64(),
            ParamType::Number => value.is_number(),
            ParamType::Boolean => value.is_boolean(),
        }
    }

    /// A value of this type in a sentence.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            ParamType::String => "a string",
            ParamType::Integer => "a whole number",
            ParamType::Number => "a number",
            ParamType::Boolean => "true or false",
        }
    }

    /// How to write what was probably meant by `value`.
    pub(super) fn advice(self, value: &Value) -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match self.read(&text) {
            Some(meant) => format!("write {meant}"),
            None => format!("the param is {}", self.in_words()),
        }
    }

    /// A value from a text, as it is typed on a command line.
    fn read(self, text: &str) -> Option<Value> {
        match self {
            ParamType::String => Some(json!(text)),
            ParamType::Integer => text.parse::<i64>().ok().map(|number| json!(number)),
            ParamType::Number => text.parse::<Number>().ok().map(Value::Number),
            ParamType::Boolean => text.parse::<bool>().ok().map(|value| json!(value)),
        }
    }
}

/// A value in a message about its type.
pub(super) fn said_exactly(value: &Value) -> String {
    format!("`{}`", printable(&value.to_string()))
}

/// A value in a message.
pub(super) fn said(value: &Value) -> String {
    format!("`{}`", printable(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// Whether the param takes the value; the error says which ones it takes.
pub(super) fn fits(param: &Param, value: &Value) -> Result<(), String> {
    if !param.kind.takes(value) {
        return Err(format!("it takes {}", param.kind.in_words()));
    }
    if !param.choices.is_empty() && !param.choices.contains(value) {
        let choices = param
            .choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned));
        let choices: Vec<_> = choices.collect();
        return Err(format!("it takes {}", listed(choices.iter().map(String::as_str), "or")));
    }
    Ok(())
}

impl Pipeline {
    /// The values of the params of each of [`Pipeline::scopes`]; `given` is what was said for those of the file that
    /// is run.
    pub fn bind(
        &self,
        given: &BTreeMap<String, String>,
    ) -> Result<Vec<BTreeMap<String, Value>>, Vec<ParamError>> {
        let mut errors = Vec::new();
        let mut bound: Vec<BTreeMap<String, Value>> = Vec::with_capacity(self.scopes.len());
        for (index, scope) in self.scopes.iter().enumerate() {
            let mut values = BTreeMap::new();
            if index == 0 {
                errors.extend(given.keys().filter_map(|name| unknown(&scope.params, name)));
            }
            for param in &scope.params {
                let value = if index == 0 {
                    given.get(&param.name.value).map(|text| read(param, text))
                } else {
                    self.given(index, param, &bound)
                };
                match value.or_else(|| param.default.clone().map(Ok)) {
                    Some(Ok(value)) => {
                        values.insert(param.name.value.clone(), value);
                    }
                    Some(Err(error)) => errors.push(error),
                    None => errors.push(missing(param)),
                }
            }
            bound.push(values);
            // What is wrong here would only come up again in what uses it.
            if !errors.is_empty() {
                return Err(errors);
            }
        }
        Ok(bound)
    }

    /// What the using step gives for a param.
    fn given(
        &self,
        scope: usize,
        param: &Param,
        bound: &[BTreeMap<String, Value>],
    ) -> Option<Result<Value, ParamError>> {
        let used = &self.scopes[scope];
        let template = match &used.given.get(&param.name.value)?.value {
            TemplateValue::Plain(value) => return Some(Ok(value.clone())),
            TemplateValue::Template(template) => template,
        };
        let parent = used.parent.and_then(|parent| bound.get(parent)).cloned().unwrap_or_default();
        let roots = [
            ("params", Value::Object(parent.into_iter().collect())),
            ("matrix", Value::Object(used.matrix.clone().into_iter().collect())),
        ];
        let variables = Variables { roots: roots.into(), ..Variables::default() };
        let file = printable(&self.sources[used.source].path);
        let rendered = template.render(&variables).map_err(|error| ParamError {
            message: format!("the param `{}` of {file} has no value: {}", param.name.value, error.message),
            help: error.help,
        });
        Some(rendered.and_then(|text| {
            read(param, &text).map_err(|error| ParamError {
                help: error.help.map(|help| format!("{help}; `with` gives it where {file} is used")),
                ..error
            })
        }))
    }
}

fn read(param: &Param, text: &str) -> Result<Value, ParamError> {
    let name = printable(&param.name.value);
    let value = param.kind.read(text);
    let refused = match &value {
        Some(value) => fits(param, value).err(),
        None => Some(format!("it takes {}", param.kind.in_words())),
    };
    match (value, refused) {
        (Some(value), None) => Ok(value),
        (_, takes) => Err(ParamError {
            message: format!("the param `{name}` cannot be `{}`", printable(text)),
            help: takes,
        }),
    }
}

fn missing(param: &Param) -> ParamError {
    let name = printable(&param.name.value);
    let about =
        param.description.as_deref().map(|text| format!(" ({})", printable(text))).unwrap_or_default();
    let value = param.choices.first().map_or("VALUE".to_owned(), |choice| {
        choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)
    });
    ParamError {
        message: format!("the param `{name}`{about} must be given"),
        help: Some(format!("say it: --param {name}={}", printable(&value))),
    }
}

fn unknown(params: &[Param], name: &str) -> Option<ParamError> {
    let names = || params.iter().map(|param| param.name.value.as_str());
    if names().any(|known| known == name) {
        return None;
    }
    let help = match did_you_mean(name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if params.is_empty() => "the pipeline has no params".to_owned(),
        None => format!("the pipeline's params are {}", listed(names(), "and")),
    };
    Some(ParamError { message: format!("there is no param `{}`", printable(name)), help: Some(help) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::super::parse;

    /// What the params of a file are bound to, or what is wrong, for what is said on the command line.
    fn bind(said: &[(&str, &str)]) -> Result<serde_json::Value, Vec<String>> {
        let text = json!({
            "params": {
                "target": { "enum": ["staging", "prod"], "default": "staging" },
                "count": { "type": "integer", "required": true, "description": "how many" },
                "ratio": { "type": "number" },
                "dry": { "type": "boolean" },
            },
            "steps": [
                { "name": "a", "run": "make" },
                { "name": "used", "uses": "b.json",
                  "with": { "n": "${{ params.count + 1 }}", "label": "${{ params.target }}-x" } },
            ],
        });
        let used = json!({
            "params": { "n": { "type": "integer", "enum": [2, 3], "default": 2 }, "label": {} },
            "steps": [{ "name": "b", "run": "make" }],
        })
        .to_string();
        let pipeline = parse(&text.to_string(), "dcd.json", &mut |_| Ok(used.clone())).map_err(|wrong| {
            wrong.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect::<Vec<_>>()
        })?;
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let shown =
            |error: super::ParamError| format!("{}; {}", error.message, error.help.unwrap_or_default());
        pipeline
            .bind(&said)
            .map(|bound| json!(bound))
            .map_err(|errors| errors.into_iter().map(shown).collect())
    }

    #[test]
    fn texts_become_values_of_their_types() {
        let bound = bind(&[("count", "1"), ("ratio", "2.5"), ("dry", "true"), ("target", "prod")]);
        let root = json!({ "target": "prod", "count": 1, "ratio": 2.5, "dry": true });
        assert_eq!(bound, Ok(json!([root, { "n": 2, "label": "prod-x" }])));
        let root = json!({ "target": "staging", "count": 2, "ratio": 0, "dry": false });
        assert_eq!(bind(&[("count", "2")]), Ok(json!([root, { "n": 3, "label": "staging-x" }])));
    }

    #[test]
    fn what_is_wrong_names_the_param_and_what_it_takes() {
        let told =
            bind(&[("target", "test"), ("ratio", "much"), ("dry", "yes"), ("traget", "prod"), ("x", "")]);
        insta::assert_snapshot!(told.unwrap_err().join("\n"), @r"
        there is no param `traget`; did you mean `target`?
        there is no param `x`; the pipeline's params are `count`, `dry`, `ratio` and `target`
        the param `count` (how many) must be given; say it: --param count=VALUE
        the param `dry` cannot be `yes`; it takes true or false
        the param `ratio` cannot be `much`; it takes a number
        the param `target` cannot be `test`; it takes `staging` or `prod`
        ");
        let told = bind(&[("count", "7")]).unwrap_err();
        insta::assert_snapshot!(told.join("\n"), @"the param `n` cannot be `8`; it takes `2` or `3`; `with` gives it where b.json is used");
    }
}
