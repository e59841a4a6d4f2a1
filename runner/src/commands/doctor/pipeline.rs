//! The pipeline file, the plugins, and the history backend.

use std::path::{Path, PathBuf};

use super::Check;
use crate::{
    commands::load::{self, Loaded},
    engine::ports::backend::{Backend, BackendError, Filter},
    error::CommandError,
    plugin::{
        PluginError,
        locate::{Located, Locator},
    },
};

/// The check whose problems are the pipeline's author's.
pub(super) const NAME: &str = "pipeline";

pub(super) fn load(workspace: &Path, file: &Path) -> Result<Loaded, Check> {
    if !workspace.join(file).exists() {
        return Err(Check::problem(
            NAME,
            format!("there is no {} in {}", file.display(), workspace.display()),
        )
        .help("`dcd init` writes one; or go to the directory that has it"));
    }
    load::pipeline(workspace, file).map_err(|error| wrong(file.display(), error))
}

/// What is wrong with a file is shown at length by the command that is for that.
fn wrong(file: impl std::fmt::Display, error: CommandError) -> Check {
    if error.rendered {
        return Check::problem(NAME, format!("{file} has errors"))
            .help(format!("`dcd validate {file}` shows them"));
    }
    let mut check = Check::problem(NAME, error.message);
    check.help = error.help.map(|help| help.replace("\n      ", " "));
    check
}

/// The file with the plugins that it uses, as a run would take them.
pub(super) fn check(workspace: &Path, loaded: &Loaded) -> Check {
    let file = &loaded.definition.path;
    match load::plugins(workspace, loaded) {
        Ok(_) => Check::ok(NAME, format!("{file} is valid, steps: {}", loaded.pipeline.steps.len())),
        Err(error) => wrong(file, error),
    }
}

/// Every plugin that is here; one that is none may be one that the pipeline wants.
pub(super) fn plugins(workspace: &Path, loaded: Option<&Loaded>) -> Vec<Check> {
    let blocks = loaded.map(|loaded| loaded.pipeline.plugins.clone()).unwrap_or_default();
    let found = Locator::new(workspace, &blocks).all();
    let check = |(path, located): (PathBuf, Result<Located, PluginError>)| match located {
        Ok(located) => plugin(workspace, loaded, &located),
        Err(error) => {
            let mut check = Check::problem("plugin", format!("{}: {}", path.display(), error.message));
            check.help = error.help;
            check
        }
    };
    found.into_iter().map(check).collect()
}

fn plugin(workspace: &Path, loaded: Option<&Loaded>, located: &Located) -> Check {
    let manifest = &located.manifest;
    let grants = loaded.and_then(|loaded| load::grants(located, &loaded.pipeline, workspace, &(0..0)).ok());
    let grants = grants.map(|grants| {
        let grants = grants.describe();
        let grants: Vec<_> = grants.iter().map(|(kind, list)| format!("{kind} {}", list.join(" "))).collect();
        if grants.is_empty() {
            ", granted nothing".to_owned()
        } else {
            format!(", granted {}", grants.join(", "))
        }
    });
    let text = format!(
        "{} {}, {}, API {}, sha256 {}{}",
        manifest.name,
        manifest.version,
        manifest.kind.as_str(),
        manifest.api,
        located.sha256.get(..12).unwrap_or(&located.sha256),
        grants.unwrap_or_default()
    );
    Check::ok("plugin", text)
}

/// Opens the backend, has it try what a build needs, and asks for one build.
pub(super) fn history(workspace: &Path, loaded: &Loaded) -> Check {
    let (host, mut backend) = match load::history(workspace, loaded) {
        Ok(Some(backend)) => backend,
        Ok(None) => return Check::ok("history", "in this workspace only, as the pipeline names no backend"),
        // What is wrong with the plugin or its config was said of the pipeline.
        Err(_) => return Check::warning("history", "the backend could not be asked: see above"),
    };
    let name = backend.name().to_owned();
    let asked = host.block_on(async {
        backend.check().await?;
        backend.list(&Filter::default(), 1, None).await
    });
    match asked {
        Ok(page) if page.builds.is_empty() => {
            Check::ok("history", format!("{name} can keep builds, and has none yet"))
        }
        Ok(_) => Check::ok("history", format!("{name} can keep builds, and has some")),
        Err(BackendError { message, help, .. }) => {
            let mut check = Check::problem("history", message);
            check.help = help;
            check
        }
    }
}
