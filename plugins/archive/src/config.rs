//! What a pipeline says.

use schemars::JsonSchema;
use serde::Deserialize;

/// An archive, and what goes into it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The archive: a path relative to the workspace that ends with `.tar.gz`, `.tgz` or `.zip`.
    pub dest: String,
    /// What goes into it: paths and globs, relative to the workspace. A directory means all that is in it.
    #[schemars(length(min = 1))]
    pub files: Vec<String>,
    /// What does not: paths and globs, relative to the workspace.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The directory that names in the archive are relative to, itself relative to the workspace. Default: the
    /// workspace.
    #[serde(default)]
    pub base: Option<String>,
    /// The directory in the archive that all of it is put into, such as "shop-1.4".
    #[serde(default)]
    pub prefix: Option<String>,
    /// Files that are made executable: paths and globs. Scripts (`#!`) and ELF programs are without being named.
    #[serde(default)]
    pub executable: Vec<String>,
    /// How hard to compress: from 0 (not at all) to 9. Default: 6.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9))]
    pub level: Option<u32>,
}
