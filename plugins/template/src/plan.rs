//! Which template becomes which file.

use std::path::Path;

use dcd_plugin_sdk::{Diagnostic, Error};
use shared::Findings;
use shared::files::{self, Pattern};

use crate::config::Config;

/// The endings that templates have and what is made of them has not.
const ENDINGS: [&str; 3] = [".j2", ".jinja", ".tmpl"];

/// Templates and their destinations, understood.
#[derive(Clone, Debug)]
pub struct Plan {
    files: Vec<(Pattern, Dest, Option<String>)>,
}

/// One template, and what becomes of it. Paths are relative to the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) src: String,
    pub(crate) dest: String,
    /// In octal.
    pub(crate) mode: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Dest {
    /// Beside its template.
    Beside,
    File(String),
    /// Empty: the workspace.
    Directory(String),
}

impl Plan {
    /// Understands a configuration, or says everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let mut all = Vec::new();
        if config.files.is_empty() {
            findings.add("/files", "there is nothing to render");
        }
        for (index, file) in config.files.iter().enumerate() {
            let pattern =
                Pattern::parse(&file.src).map_err(|why| findings.add(format!("/files/{index}/src"), why));
            let Ok(pattern) = pattern else { continue };
            let dest = match &file.dest {
                None if pattern.is_glob || stem(&file.src).is_some() => Ok(Dest::Beside),
                None => {
                    Err(format!("{:?} has none of the endings {}: say `dest`", file.src, ENDINGS.join(", ")))
                }
                Some(dest) if matches!(dest.as_str(), "." | "./") => Ok(Dest::Directory(String::new())),
                Some(dest) if pattern.is_glob || dest.ends_with('/') => {
                    files::relative(dest).map(Dest::Directory)
                }
                Some(dest) => files::relative(dest).map(Dest::File),
            };
            let is_octal = |mode: &String| {
                (3..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..b'8').contains(&digit))
            };
            if file.mode.as_ref().is_some_and(|mode| !is_octal(mode)) {
                findings.add(format!("/files/{index}/mode"), "write it in octal, such as \"755\"");
            }
            match dest {
                Ok(dest) => all.push((pattern, dest, file.mode.clone())),
                Err(why) => findings.add(format!("/files/{index}/dest"), why),
            }
        }
        findings.none_or(Self { files: all })
    }

    /// Each template with its destination.
    pub(crate) fn pairs(&self, workspace: &Path) -> Result<Vec<Pair>, Error> {
        let mut pairs: Vec<Pair> = Vec::new();
        for (pattern, dest, mode) in &self.files {
            for found in files::find(workspace, std::slice::from_ref(pattern), &[])? {
                let src = found.path;
                let dest = destination(&src, &pattern.start, pattern.is_glob, dest)?;
                if let Some(other) = pairs.iter().find(|pair| pair.dest == dest) {
                    let both = format!("{:?} and {src:?} would both be written to {dest:?}", other.src);
                    return Err(Error::invalid_config("/files", both));
                }
                pairs.push(Pair { src, dest, mode: mode.clone() });
            }
        }
        Ok(pairs)
    }
}

fn destination(src: &str, start: &str, is_glob: bool, dest: &Dest) -> Result<String, Error> {
    let stripped = stem(src);
    match dest {
        Dest::File(path) => Ok(path.clone()),
        Dest::Beside => stripped.map(str::to_owned).ok_or_else(|| {
            let why = format!(
                "{src:?} would be written over itself: it has none of the endings {}",
                ENDINGS.join(", ")
            );
            Error::invalid_config("/files", why)
        }),
        Dest::Directory(directory) => {
            // Of a glob, what it found keeps its place below the glob's start.
            let base = if is_glob { start } else { src.rsplit_once('/').map_or("", |(parent, _)| parent) };
            let path = stripped.unwrap_or(src);
            let below = path.strip_prefix(base).unwrap_or(path).trim_start_matches('/');
            Ok(if directory.is_empty() { below.to_owned() } else { format!("{directory}/{below}") })
        }
    }
}

fn stem(path: &str) -> Option<&str> {
    let stem = ENDINGS.iter().find_map(|ending| path.strip_suffix(ending))?;
    (!stem.is_empty() && !stem.ends_with('/')).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_files_or_directories() {
        let dest = |src: &str, start: &str, is_glob, dest: &Dest| destination(src, start, is_glob, dest).ok();
        let directory = |path: &str| Dest::Directory(path.into());
        assert_eq!(dest("a/x.yaml.j2", "a/x.yaml.j2", false, &Dest::Beside).as_deref(), Some("a/x.yaml"));
        assert_eq!(dest("a/x.j2", "", false, &Dest::File("b/y".into())).as_deref(), Some("b/y"));
        assert_eq!(dest("a/x.j2", "a/x.j2", false, &directory("out")).as_deref(), Some("out/x"));
        assert_eq!(dest("a/b/x.tmpl", "a", true, &directory("out")).as_deref(), Some("out/b/x"));
        assert_eq!(dest("a/b/x.txt", "", true, &directory("out")).as_deref(), Some("out/a/b/x.txt"));
        assert_eq!(dest("a/x.jinja", "a", true, &directory("")).as_deref(), Some("x"));
        assert_eq!(dest("a/x.txt", "a", true, &Dest::Beside), None);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_where() {
        let json = r#"{"files": [{"src": "../a"}, {"src": "a.txt"}, {"src": "a.j2", "dest": "/b"}, {"src": "a.j2", "mode": "u+x"}]}"#;
        let config = dcd_plugin_sdk::parse::<Config>(json).unwrap_or_default();
        let pointers: Vec<_> =
            Plan::new(&config).err().unwrap_or_default().into_iter().map(|finding| finding.pointer).collect();
        assert_eq!(pointers, ["/files/0/src", "/files/1/dest", "/files/2/dest", "/files/3/mode"]);
        assert!(Plan::new(&Config::default()).is_err());
    }
}
