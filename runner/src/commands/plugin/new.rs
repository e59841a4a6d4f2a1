//! `dcd plugin new`

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    cli::{NewArgs, NewKind},
    commands::{load, output::print},
    error::{CommandError, Exit},
    owner::Owner,
    pipeline::printable,
    report::Style,
};

/// What a library cannot be called, or what would stand in the way of the project's own files and dependencies.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "dcd-plugin-sdk",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "exec",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "shell",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// A file of the project: its path, its text, and what it is for.
type Template = (&'static str, &'static str, &'static str);

const BOTH: &[Template] = &[
    ("Cargo.toml", include_str!("templates/Cargo.toml.template"), "the package, and how small it is built"),
    (".cargo/config.toml", include_str!("templates/cargo-config.toml"), "the alias `cargo wasm`"),
    ("rust-toolchain.toml", include_str!("templates/rust-toolchain.toml"), "the target, for rustup"),
    (".gitignore", include_str!("templates/gitignore"), "what git leaves out"),
    ("Dockerfile", include_str!("templates/Dockerfile.template"), "an image with the plugin"),
    (".dockerignore", include_str!("templates/dockerignore"), "what the image needs not"),
];

const STEP: &[Template] = &[
    ("src/lib.rs", include_str!("templates/step/lib.rs"), "the plugin, and its native tests"),
    ("tests/cases.json", include_str!("templates/step/cases.json"), "cases for the component"),
    ("dcd.json", include_str!("templates/step/dcd.json"), "a pipeline to try it with"),
    ("README.md", include_str!("templates/step/README.md"), "what is where"),
];

const HISTORY: &[Template] = &[
    ("src/lib.rs", include_str!("templates/history/lib.rs"), "the plugin: what the runner calls"),
    (
        "src/rules.rs",
        include_str!("templates/history/rules.rs"),
        "what may be written when, and its native tests",
    ),
    ("src/store.rs", include_str!("templates/history/store.rs"), "where builds are kept"),
    ("tests/backend.json", include_str!("templates/history/backend.json"), "how it is opened to be tested"),
    ("dcd.json", include_str!("templates/history/dcd.json"), "a pipeline to try it with"),
    ("README.md", include_str!("templates/history/README.md"), "what is where"),
];

pub(super) fn new(args: &NewArgs) -> Result<Exit, CommandError> {
    check_name(&args.name)?;
    let current = load::workspace()?;
    let shown = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let directory = current.join(&shown);
    check_free(&directory, &shown)?;
    let sdk = match &args.sdk {
        None => format!("\"{}\"", minor(env!("CARGO_PKG_VERSION"))),
        Some(path) => {
            let path = fs::canonicalize(current.join(path)).map_err(|error| {
                CommandError::usage(
                    format!("--sdk {}: {error}", path.display()),
                    "name the directory of the crate dcd-plugin-sdk",
                )
            })?;
            format!("{{ path = {:?} }}", path.display().to_string())
        }
    };
    let (files, what) = match args.kind {
        NewKind::Step => (STEP, "A step type"),
        NewKind::History => (HISTORY, "A history backend"),
    };
    let fill = |template: &str| {
        template
            .replace("@NAME@", &args.name)
            .replace("@FILE@", &args.name.replace('-', "_"))
            .replace("@TYPE@", &type_name(&args.name))
            .replace("@SDK@", &sdk)
            .replace("@RUST@", env!("CARGO_PKG_RUST_VERSION"))
            .replace("@STOCK@", &format!("ghcr.io/progsoftware/dcd:v{}", env!("CARGO_PKG_VERSION")))
    };
    let style = Style::of(&io::stdout());
    print(&format!("{what}, {}, in {}:\n", args.name, shown.display()))?;
    let owner = Owner::of(&current);
    for (path, template, about) in BOTH.iter().chain(files) {
        write(&directory, path, &fill(template), owner).map_err(|error| {
            CommandError::environment(format!("cannot write {}: {error}", shown.join(path).display()))
                .help("make the directory writable, or name another one with --dir")
        })?;
        print(&format!("{} {path:<20} {}\n", style.good("wrote"), style.dim(about)))?;
    }
    print(&next(&shown, &args.name.replace('-', "_")))?;
    Ok(Exit::Success)
}

fn next(directory: &Path, file: &str) -> String {
    format!(
        "\nNext:\n  \
         1. cd {} && cargo test\n  \
         2. cargo wasm\n  \
         3. dcd plugin test target/wasm32-wasip2/release/{file}.wasm\n",
        directory.display()
    )
}

/// Writes a file that was not there.
fn write(directory: &Path, path: &str, text: &str, owner: Owner) -> io::Result<()> {
    let path = directory.join(path);
    if let Some(parent) = path.parent() {
        owner.make_dirs(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    file.write_all(text.as_bytes())?;
    owner.give(&path);
    Ok(())
}

/// The project gets a directory of its own.
fn check_free(directory: &Path, shown: &Path) -> Result<(), CommandError> {
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(CommandError::usage(
                format!("cannot make a project in {}: {error}", shown.display()),
                "name another directory with --dir",
            ));
        }
    };
    if entries.next().is_none() {
        return Ok(());
    }
    Err(CommandError::usage(
        format!("{} is there already, and is not empty", shown.display()),
        "choose another name, or another directory with --dir",
    ))
}

/// What Cargo takes as a package and pipelines as a plugin.
fn check_name(name: &str) -> Result<(), CommandError> {
    let wrong = |why: &str| {
        CommandError::usage(
            format!("a plugin cannot be called `{}`: {why}", printable(name)),
            "use lower-case letters, digits, - and _, as in \"deploy-helm\"",
        )
    };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() {
        Err(wrong("it is empty"))
    } else if let Some(c) = name.chars().find(|c| !legal(*c)) {
        Err(wrong(&format!("it has the character `{}`", printable(&c.to_string()))))
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Err(wrong("it does not begin with a letter"))
    } else if name.len() > 50 {
        Err(wrong("it is longer than 50 characters"))
    } else if TAKEN.contains(&name.replace('_', "-").as_str()) {
        Err(wrong("the word means something else to Rust, Cargo or dcd"))
    } else {
        Ok(())
    }
}

/// `deploy-helm` as `DeployHelm`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split(['-', '_']).map(word).collect()
}

/// `0.1.2` as `0.1`: any patch release does.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_everywhere() {
        let is_legal = |name: &&str| check_name(name).is_ok();
        let legal = ["greet", "deploy-helm", "a1_b"];
        assert!(legal.iter().all(is_legal));
        let wrong =
            ["", "Greet", "1a", "-a", "a b", "../a", "grüezi", "test", "shell", "fn", "dcd_plugin_sdk"];
        assert_eq!(wrong.iter().filter(|name| is_legal(name)).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert!(check_name(&"a".repeat(51)).is_err());
    }

    #[test]
    fn types_are_called_as_in_rust() {
        assert_eq!(["greet", "deploy-helm", "a_b--c"].map(type_name), ["Greet", "DeployHelm", "ABC"]);
    }
}
