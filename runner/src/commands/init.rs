//! `dcd init`

mod image;
mod project;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{
    cli::InitArgs,
    commands::{load, output::print},
    error::{CommandError, Exit},
    git,
    owner::Owner,
    report::Style,
};

const WRAPPER: &str = include_str!("init/wrapper.sh");
const DOCKERFILE: &str = include_str!("init/Dockerfile.template");
/// Where an image's Dockerfile takes the program from: how one that is for dcd is told from another.
const MARK: &str = "--from=dcd ";

/// A file to be written.
struct New {
    name: &'static str,
    text: String,
    mode: u32,
    /// What it is for, in a few words.
    what: String,
}

pub(super) fn init(args: &InitArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let project = project::of(&workspace);
    let base = named(args.base.as_deref(), "--base")?;
    let stock = named(args.stock.as_deref(), "--stock")?;
    let image = match named(args.image.as_deref(), "--image")? {
        Some(name) if name.rsplit('/').next().is_some_and(|last| last.contains(':')) => name.to_owned(),
        Some(name) => format!("{name}:latest"),
        None => image_of(&workspace),
    };
    let dockerfile = dockerfile_of(&workspace);
    let released = format!("ghcr.io/progsoftware/dcd:v{}", env!("CARGO_PKG_VERSION"));
    // What is known of the proposed image need not hold for another.
    let tools = if base.is_some() { "" } else { project.tools };
    let tools = if tools.is_empty() { "# RUN apt-get update && apt-get install -y …" } else { tools };
    let base = base.unwrap_or(&project.base);
    let fill = |template: &str| {
        template
            .replace("@IMAGE@", &image)
            .replace("@DOCKERFILE@", dockerfile)
            .replace("@STOCK@", stock.unwrap_or(&released))
            .replace("@BASE@", base)
            .replace("@TOOLS@", tools)
    };
    let files = [
        New {
            name: dockerfile,
            text: fill(DOCKERFILE),
            mode: 0o644,
            what: format!("your image: {base} and dcd"),
        },
        New { name: "dcd", text: fill(WRAPPER), mode: 0o755, what: format!("runs dcd in {image}") },
        New {
            name: "dcd.json",
            text: project::pipeline(&project),
            mode: 0o644,
            what: format!("the pipeline, begun for {}", project.what),
        },
    ];
    let style = Style::of(&io::stdout());
    let mut left = Vec::new();
    for file in &files {
        let is_new = if args.dry_run {
            fs::symlink_metadata(workspace.join(file.name)).is_err()
        } else {
            write(&workspace, file).map_err(|error| unwritable(file.name, &workspace, &error))?
        };
        let word = match (is_new, args.dry_run) {
            (true, false) => style.good("wrote"),
            (true, true) => style.good("would write"),
            (false, _) => style.warning("left"),
        };
        let what = if is_new { file.what.clone() } else { "was there already".to_owned() };
        print(&format!("{word} {:<15} {}\n", file.name, style.dim(&what)))?;
        if !is_new {
            left.push(file.name);
        }
    }
    if !args.dry_run {
        print(&next_steps(dockerfile, &image))?;
    }
    Ok(Exit::Success)
}

fn next_steps(dockerfile: &str, image: &str) -> String {
    let share = if image.starts_with("localhost/") {
        "Share it: set `image` in ./dcd to a name in your registry, build and push it, and commit the files"
            .to_owned()
    } else {
        format!("Share it: docker push {image}, and commit the files")
    };
    format!(
        "\nNext:\n  \
         1. Look through dcd.json and {dockerfile}\n  \
         2. Run it:   ./dcd run   (builds the image the first time)\n  \
         3. {share}\n"
    )
}

/// Writes the file, unless there is something of its name.
fn write(workspace: &Path, file: &New) -> io::Result<bool> {
    let path = workspace.join(file.name);
    let mut open = match OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    open.write_all(file.text.as_bytes())?;
    Owner::of(workspace).give(&path);
    Ok(true)
}

/// `Dockerfile`, unless that is for something else, such as the project's own image.
fn dockerfile_of(workspace: &Path) -> &'static str {
    match fs::read_to_string(workspace.join("Dockerfile")) {
        Ok(text) if !text.contains(MARK) => "dcd.Dockerfile",
        Err(error) if error.kind() != io::ErrorKind::NotFound => "dcd.Dockerfile",
        Ok(_) | Err(_) => "Dockerfile",
    }
}

fn image_of(workspace: &Path) -> String {
    let remote = git::collect(workspace).known().and_then(|git| git.remote.known().cloned());
    let directory = workspace.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    image::name(remote.as_deref(), &directory)
}

fn named<'a>(image: Option<&'a str>, option: &str) -> Result<Option<&'a str>, CommandError> {
    match image {
        Some(name) if !image::is_name(name) => Err(CommandError::usage(
            format!("{option} {name} is not the name of an image"),
            "a name is like ghcr.io/your-org/your-project-dcd:latest",
        )),
        named => Ok(named),
    }
}

fn unwritable(name: &str, workspace: &Path, error: &io::Error) -> CommandError {
    CommandError::environment(format!("cannot write {name} in {}: {error}", workspace.display())).help(
        "make the directory writable for dcd; in a container, mount it with `-v \"$PWD:$PWD\" -w \"$PWD\"`",
    )
}
