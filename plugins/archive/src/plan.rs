//! What a pipeline says, understood.

use dcd_plugin_sdk::Diagnostic;
use shared::Findings;
use shared::files::{self, Pattern};

use crate::config::Config;

/// What to pack, where to and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) dest: String,
    pub(crate) format: Format,
    pub(crate) files: Vec<Pattern>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) executable: Vec<Pattern>,
    /// Taken off the paths of files.
    base: Option<String>,
    /// Put before them.
    prefix: Option<String>,
    pub(crate) level: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    TarGz,
    Zip,
}

impl Plan {
    /// Understands a configuration, or says everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let mut relative =
            |pointer: &str, path: &str| files::relative(path).map_err(|why| findings.add(pointer, why)).ok();
        let dest = relative("/dest", &config.dest).unwrap_or_default();
        let base = config.base.as_deref().filter(|base| !matches!(*base, "." | "./"));
        let base = base.and_then(|base| relative("/base", base));
        let prefix = config.prefix.as_deref().and_then(|prefix| relative("/prefix", prefix));
        let mut patterns = |pointer: &str, texts: &[String]| -> Vec<Pattern> {
            let parse = |(index, text): (usize, &String)| {
                let pattern = Pattern::parse(text);
                pattern.map_err(|why| findings.add(format!("{pointer}/{index}"), why)).ok()
            };
            texts.iter().enumerate().filter_map(parse).collect()
        };
        let files = patterns("/files", &config.files);
        let mut exclude = patterns("/exclude", &config.exclude);
        let executable = patterns("/executable", &config.executable);
        if config.files.is_empty() {
            findings.add("/files", "an archive of nothing is of no use");
        }
        let format = Format::of(&config.dest).unwrap_or_else(|| {
            findings.add("/dest", "its ending says what it is: .tar.gz, .tgz or .zip");
            Format::Zip
        });
        let level = config.level.unwrap_or(6);
        if level > 9 {
            findings.add("/level", "it is a number from 0 to 9");
        }
        // What is packed does not hold itself, nor what is left of an earlier try.
        exclude.extend([&dest, &part(&dest)].into_iter().filter_map(|path| Pattern::parse(path).ok()));
        findings.none_or(Self { dest, format, files, exclude, executable, base, prefix, level })
    }

    /// What the file is called in the archive; none when it is not below the base.
    pub(crate) fn name(&self, path: &str) -> Option<String> {
        let below = match &self.base {
            Some(base) => path.strip_prefix(base)?.strip_prefix('/')?,
            None => path,
        };
        Some(match &self.prefix {
            Some(prefix) => format!("{prefix}/{below}"),
            None => below.to_owned(),
        })
    }
}

impl Format {
    /// By the ending of the archive's name.
    fn of(dest: &str) -> Option<Self> {
        let endings = [(".tar.gz", Self::TarGz), (".tgz", Self::TarGz), (".zip", Self::Zip)];
        let dest = dest.to_ascii_lowercase();
        endings.into_iter().find(|(ending, _)| dest.ends_with(ending)).map(|(_, format)| format)
    }
}

/// Where an archive is written until it is whole.
pub(crate) fn part(dest: &str) -> String {
    format!("{dest}.part")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, Vec<String>> {
        let config = dcd_plugin_sdk::parse::<Config>(json).unwrap_or_default();
        Plan::new(&config).map_err(|wrong| wrong.into_iter().map(|finding| finding.pointer).collect())
    }

    #[test]
    fn names_lose_the_base_and_get_the_prefix() {
        let plan = plan(r#"{"dest": "a.tgz", "files": ["dist"], "base": "dist", "prefix": "shop-1/"}"#);
        let name = |path| plan.as_ref().ok().and_then(|plan| plan.name(path));
        assert_eq!(name("dist/bin/x").as_deref(), Some("shop-1/bin/x"));
        assert_eq!(name("distx/y"), None);
        assert!(plan.is_ok_and(|plan| plan.format == Format::TarGz));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_where() {
        let json =
            r#"{"dest": "a.rar", "files": ["/x", "ok"], "exclude": ["!a"], "base": "..", "level": 10}"#;
        assert_eq!(
            plan(json).err().unwrap_or_default(),
            ["/base", "/files/0", "/exclude/0", "/dest", "/level"]
        );
        assert_eq!(
            plan(r#"{"dest": "../a.zip", "files": []}"#).err().unwrap_or_default(),
            ["/dest", "/files"]
        );
    }
}
