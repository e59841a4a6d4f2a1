//! What a pipeline says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Templates, and what to fill in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What to render to where.
    #[schemars(length(min = 1))]
    pub files: Vec<File>,
    /// The values that templates read, by name: any JSON.
    #[serde(default)]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// Drop the first line break after a `{% … %}`. Default: false.
    #[serde(default)]
    pub trim_blocks: bool,
    /// Drop blanks before a `{% … %}` at the start of a line. Default: false.
    #[serde(default)]
    pub lstrip_blocks: bool,
}

/// One template, or several.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The template: a path relative to the workspace, or a glob.
    pub src: String,
    /// Where to write it, relative to the workspace. Of a glob, or when it ends with `/`, it is a directory.
    /// Default: `src` without its ending `.j2`, `.jinja` or `.tmpl`.
    #[serde(default)]
    pub dest: Option<String>,
    /// The mode of what is written, in octal, such as "755". It is set by `chmod`, which must be granted as `exec`.
    /// Default: that of a file which exists stays, a new one gets the usual one.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"))]
    pub mode: Option<String>,
}
