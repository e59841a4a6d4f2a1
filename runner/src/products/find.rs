//! Finding the files that a glob matches.
//!
//! The walk begins where the glob's first wildcard stands, so that `dist/*.gz` looks into `dist` alone. It does
//! not enter directories through links, and a link to a file counts only if that file is in the workspace, too.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

/// What no glob matches: they hold what is kept of the workspace, not what is made in it.
const NEVER: [&str; 2] = [".dcd", ".git"];

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// Relative to the workspace.
    pub(super) path: String,
    /// Where its content is: elsewhere for a link. Absolute.
    pub(super) file: PathBuf,
}

/// Where to look, and for what.
struct Search {
    /// Relative to the workspace; no wildcards.
    start: PathBuf,
    /// `None`: exactly `start`.
    below: Option<Below>,
}

struct Below {
    matcher: GlobMatcher,
    depth: usize,
}

/// The files that the glob matches, or what is wrong with it, as the end of a sentence that begins with the glob.
pub(super) fn find(workspace: &Path, glob: &str, stop: &AtomicBool) -> Result<Vec<Found>, String> {
    let search = Search::new(glob)?;
    let workspace = workspace.canonicalize().map_err(|error| format!("cannot be looked for: {error}"))?;
    let start = workspace.join(&search.start);
    enter(&workspace, &search.start, search.below.is_some())?;
    let Some(below) = &search.below else {
        return match fs::metadata(&start) {
            Ok(metadata) if metadata.is_dir() => {
                Err(format!("is a directory: write `{}/**` for the files in it", search.start.display()))
            }
            _ => Ok(found(&workspace, &start).into_iter().collect()),
        };
    };
    let walk = WalkDir::new(&start).min_depth(1).max_depth(below.depth).into_iter();
    let mut files = Vec::new();
    for entry in walk.filter_entry(|entry| !is_never(Path::new(entry.file_name()))) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            // What is gone meanwhile, or was never there, matches nothing.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                continue;
            }
            Err(error) => return Err(format!("cannot be looked for: {error}")),
        };
        let kind = entry.file_type();
        let relative = entry.path().strip_prefix(&workspace).unwrap_or(entry.path());
        if (kind.is_file() || kind.is_symlink()) && below.matcher.is_match(relative) {
            files.extend(found(&workspace, entry.path()));
        }
    }
    Ok(files)
}

impl Search {
    fn new(glob: &str) -> Result<Self, String> {
        let parts: Vec<&str> = glob.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if glob.starts_with('/') || parts.contains(&"..") {
            return Err("leaves the workspace: name files below it, with a path relative to it".to_owned());
        }
        let is_wild = |part: &&str| part.contains(['*', '?', '[', ']', '{', '}', '\\']);
        let literal = parts.iter().take_while(|part| !is_wild(part)).count();
        let start = parts[..literal].iter().collect();
        let rest = &parts[literal..];
        if rest.is_empty() {
            return Ok(Search { start, below: None });
        }
        let glob = GlobBuilder::new(&parts.join("/"))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("is no glob: {}", error.kind()))?;
        // A match has as many separators as the glob, unless `**` stands for any number.
        let depth = if rest.iter().any(|part| part.contains("**")) { usize::MAX } else { rest.len() };
        Ok(Search { start, below: Some(Below { matcher: glob.compile_matcher(), depth }) })
    }
}

/// Whether the directories of the glob's literal start may be entered.
fn enter(workspace: &Path, start: &Path, whole: bool) -> Result<(), String> {
    let parts: Vec<Component<'_>> = start.components().collect();
    let directories = if whole { parts.len() } else { parts.len().saturating_sub(1) };
    let mut path = workspace.to_owned();
    for (at, part) in parts.iter().enumerate() {
        path.push(part);
        if is_never(Path::new(part)) {
            return Err("matches nothing: .dcd and .git are not looked into".to_owned());
        }
        if at < directories && path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            let link = path.strip_prefix(workspace).unwrap_or(&path).display();
            return Err(format!("matches nothing: `{link}` is a symbolic link, which is not followed"));
        }
    }
    Ok(())
}

/// The file at `path`, if that is one in the workspace.
fn found(workspace: &Path, path: &Path) -> Option<Found> {
    let metadata = path.symlink_metadata().ok()?;
    let file = if metadata.is_symlink() {
        let target = path.canonicalize().ok()?;
        let inside = target.strip_prefix(workspace).ok()?;
        (!inside.components().any(|part| is_never(Path::new(&part))) && target.metadata().ok()?.is_file())
            .then_some(target)?
    } else {
        metadata.is_file().then(|| path.to_owned())?
    };
    let path = path.strip_prefix(workspace).ok()?.to_string_lossy().into_owned();
    Some(Found { path, file })
}

fn is_never(name: &Path) -> bool {
    NEVER.iter().any(|never| name == Path::new(never))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// What a glob finds among these files, or what is wrong.
    fn look(files: &[&str], glob: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("workspace");
        fs::create_dir(&workspace).unwrap();
        fs::write(root.path().join("outside"), "").unwrap();
        for file in files {
            let (name, target) = file.split_once(" -> ").unwrap_or((file, ""));
            let path = workspace.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if target.is_empty() {
                fs::write(&path, "").unwrap();
            } else {
                symlink(target, &path).unwrap();
            }
        }
        match find(&workspace, glob, &AtomicBool::new(false)) {
            Ok(mut found) => {
                found.sort();
                let names: Vec<_> = found.into_iter().map(|found| found.path).collect();
                names.join(" ")
            }
            Err(why) => why,
        }
    }

    #[test]
    fn globs_match_files_and_a_star_no_separator() {
        let files = ["dist/a.gz", "dist/b.txt", "dist/sub/c.gz", "a.gz", "dist.gz", "dist/x[1]"];
        let cases = [
            ("dist/*.gz", "dist/a.gz"),
            ("./dist//*.gz", "dist/a.gz"),
            ("dist/**", "dist/a.gz dist/b.txt dist/sub/c.gz dist/x[1]"),
            ("dist/**/*.gz", "dist/a.gz dist/sub/c.gz"),
            ("**/*.gz", "a.gz dist.gz dist/a.gz dist/sub/c.gz"),
            ("*", "a.gz dist.gz"),
            ("{dist/sub,.}/*.gz", "dist/sub/c.gz"),
            ("dist/{a,b}.*", "dist/a.gz dist/b.txt"),
            ("dist/x\\[1\\]", "dist/x[1]"),
            ("dist/b.txt", "dist/b.txt"),
            ("dist/none", ""),
            ("none/*", ""),
            ("dist", "is a directory: write `dist/**` for the files in it"),
            ("dist/", "is a directory: write `dist/**` for the files in it"),
            ("dist/[", "is no glob: unclosed character class; missing ']'"),
            ("/etc/passwd", "leaves the workspace: name files below it, with a path relative to it"),
            ("a/../../b", "leaves the workspace: name files below it, with a path relative to it"),
        ];
        for (glob, expected) in cases {
            assert_eq!(look(&files, glob), expected, "{glob}");
        }
    }

    #[test]
    fn what_is_kept_of_the_workspace_is_not_what_is_made_in_it() {
        let files = [".git/config", ".dcd/journal", "sub/.git", "sub/.gitignore", "link -> .git/config"];
        assert_eq!(look(&files, "**"), "sub/.gitignore");
        assert_eq!(look(&files, ".git/*"), "matches nothing: .dcd and .git are not looked into");
        assert_eq!(look(&files, "sub/.git"), "matches nothing: .dcd and .git are not looked into");
    }

    #[test]
    fn links_do_not_lead_out_of_the_workspace() {
        let files =
            ["dir/in", "to-in -> dir/in", "to-out -> ../outside", "to-dir -> dir", "to-nothing -> none"];
        assert_eq!(look(&files, "*"), "to-in");
        assert_eq!(look(&files, "**"), "dir/in to-in");
        assert_eq!(look(&files, "to-out"), "");
        assert_eq!(
            look(&files, "to-dir/*"),
            "matches nothing: `to-dir` is a symbolic link, which is not followed"
        );
    }

    #[test]
    fn a_search_can_be_stopped() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "").unwrap();
        assert_eq!(find(directory.path(), "*", &AtomicBool::new(true)), Ok(Vec::new()));
    }
}
