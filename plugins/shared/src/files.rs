//! Files of the workspace, by paths and globs relative to it.

use std::path::{Path, PathBuf};

use dcd_plugin_sdk::Error;
use walkdir::WalkDir;

/// What no glob matches: they hold what is kept of the workspace, not what is made in it.
const NEVER: [&str; 2] = [".dcd", ".git"];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Relative to the workspace, with `/` between its parts.
    pub path: String,
    /// A symbolic link, which is not followed.
    pub is_link: bool,
}

/// A path or glob, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it is matched.
    text: String,
    /// What stands before its first wildcard; all of it where there is none.
    pub start: String,
    /// It has a wildcard.
    pub is_glob: bool,
}

impl Pattern {
    /// Understands a glob with `*`, `?`, `[a-z]`, `{a,b}` and `**`; or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = relative(text)?;
        let is_wild = |part: &&str| part.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        if path.starts_with('!') {
            return Err(format!("{text:?} is no glob: what is left out is said elsewhere"));
        }
        let parts: Vec<&str> = path.split('/').collect();
        let literal = parts.iter().take_while(|part| !is_wild(part)).count();
        Ok(Self { start: parts[..literal].join("/"), is_glob: literal < parts.len(), text: path })
    }

    fn has(&self, path: &str) -> bool {
        if self.is_glob {
            return fast_glob::glob_match(&self.text, path);
        }
        // A directory means all that is in it.
        path.strip_prefix(&self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A path relative to the workspace without `.` parts; an error for one that leaves it.
pub fn relative(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(format!("{text:?} leaves the workspace: write a path relative to it"));
    }
    if parts.is_empty() {
        return Err(format!("{text:?} names no file"));
    }
    Ok(parts.join("/"))
}

/// Everything that one of the patterns matches and none of `without`, sorted by path. A pattern that matches
/// nothing is an error. Directories that links lead to are not entered.
pub fn find(workspace: &Path, patterns: &[Pattern], without: &[Pattern]) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for pattern in patterns {
        let before = all.len();
        walk(workspace, pattern, without, &mut all)?;
        if all.len() == before {
            let text = &pattern.text;
            return Err(Error::not_found(format!("{text:?} matches no file that the plugin can see")));
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn walk(workspace: &Path, pattern: &Pattern, without: &[Pattern], all: &mut Vec<Found>) -> Result<(), Error> {
    let start = if pattern.start.is_empty() { workspace.to_owned() } else { workspace.join(&pattern.start) };
    let is_never =
        |path: &Path| path.file_name().is_some_and(|name| NEVER.iter().any(|never| name == *never));
    let entries = WalkDir::new(start).into_iter().filter_entry(|entry| !is_never(entry.path()));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            // What is gone meanwhile, or was never there, matches nothing.
            Err(error) if error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => {
                continue;
            }
            Err(error) => return Err(Error::other(error.to_string())),
        };
        let Some(path) = text(workspace, entry.path())? else { continue };
        let kind = entry.file_type();
        if (kind.is_file() || kind.is_symlink())
            && pattern.has(&path)
            && !without.iter().any(|without| without.has(&path))
        {
            all.push(Found { path, is_link: kind.is_symlink() });
        }
    }
    Ok(())
}

fn text(workspace: &Path, path: &Path) -> Result<Option<String>, Error> {
    let relative: PathBuf = path.strip_prefix(workspace).unwrap_or(path).into();
    match relative.to_str() {
        Some("") => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Error::other(format!("{} has a name that is not UTF-8", relative.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(patterns: &[&str], without: &[&str]) -> Result<Vec<String>, Error> {
        let workspace = tempfile::tempdir()?;
        for path in ["a.txt", "d/b.txt", "d/e/c.txt", "d/e/.hidden", ".git/x.txt", "d/.dcd/y.txt"] {
            let path = workspace.path().join(path);
            path.parent().map(fs::create_dir_all).transpose()?;
            fs::write(path, "")?;
        }
        let parse = |texts: &[&str]| -> Result<Vec<_>, Error> {
            texts.iter().map(|text| Pattern::parse(text).map_err(Error::other)).collect()
        };
        let found = find(workspace.path(), &parse(patterns)?, &parse(without)?)?;
        Ok(found.into_iter().map(|found| found.path).collect())
    }

    #[test]
    fn globs_and_directories_are_found_in_order() {
        for (patterns, without, wanted) in [
            (&["**/*.txt"][..], &[][..], &["a.txt", "d/b.txt", "d/e/c.txt"][..]),
            (&["*.txt"], &[], &["a.txt"]),
            (&["d", "a.txt"], &["**/c.*"], &["a.txt", "d/b.txt", "d/e/.hidden"]),
            (&["d/{b,x}.txt", "./d/b.txt"], &[], &["d/b.txt"]),
            (&["**"], &["d"], &["a.txt"]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(found(patterns, without), Ok(wanted), "{patterns:?}");
        }
        assert!(matches!(found(&["a.txt", "*.md"], &[]), Err(Error::NotFound(_))));
    }

    #[test]
    fn patterns_stay_in_the_workspace() {
        for wrong in ["/etc/passwd", "a/../../b", "", ".", "!a"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        let pattern = Pattern::parse("d/e/*.j2").map(|pattern| (pattern.start, pattern.is_glob));
        assert_eq!(pattern, Ok(("d/e".into(), true)));
        assert_eq!(relative("./a//b/"), Ok("a/b".into()));
    }
}
