//! Processes that begin builds at the same time: `numbers-race` starts this program again, as a runner of its own.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

use super::{backend, environment, usage};
use crate::{
    cli::PluginTestArgs,
    commands::output::print,
    error::{CommandError, Exit},
    plugin::{
        Host,
        backend::HistoryPlugin,
        conformance::{self, Racers},
        locate::{Located, Locator, PATH_VARIABLE},
    },
};

/// Makes the commands. The plugin is compiled once for all of them: what was made of it is put into a directory of plugins
/// that they are told of.
pub(super) fn racers(
    plugin: &HistoryPlugin,
    args: &PluginTestArgs,
    located: &Located,
    temporary: &Path,
) -> Result<Racers, CommandError> {
    let program = env::current_exe()
        .map_err(|error| CommandError::environment(format!("cannot find dcd itself: {error}")))?;
    // Not in the backend's own directory, which is its workspace.
    let directory = temporary.with_extension("plugins");
    let (plugin, located) = (plugin.another(), located.clone());
    let (workspace, config) = (temporary.to_owned(), args.config.clone());
    let saved = OnceCell::new();
    Ok(Rc::new(move |component, builds| {
        let save = || Saved::new(&plugin, &located, directory.clone());
        let saved: &Result<Saved, String> = saved.get_or_init(save);
        let Saved { directory, wasm } = saved.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new(&program);
        command.args(["plugin", "test", "--begin", &builds.to_string(), "--component", component]);
        command.arg("--workspace").arg(&workspace).arg(wasm).env(PATH_VARIABLE, directory);
        if let Some(config) = &config {
            command.arg("--config").arg(config);
        }
        Ok(command)
    }))
}

/// The compiled plugin; it goes with all that is in its directory.
struct Saved {
    directory: PathBuf,
    wasm: PathBuf,
}

impl Saved {
    fn new(plugin: &HistoryPlugin, located: &Located, directory: PathBuf) -> Result<Self, String> {
        let wasm = plugin.save(located, &directory).map_err(|error| error.message)?;
        Ok(Saved { directory, wasm })
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Begins builds, one after the other, and prints their numbers.
pub(super) fn begin(
    args: &PluginTestArgs,
    directory: &Path,
    builds: usize,
    component: &str,
    workspace: &Path,
) -> Result<Exit, CommandError> {
    let blocks = BTreeMap::new();
    let located = Locator::new(directory, &blocks).read(&directory.join(&args.plugin)).map_err(usage)?;
    let host = Host::new().map_err(environment)?;
    let plugin = backend::open(&host, args, directory, &located, workspace)?;
    let mut printed = Ok(());
    let print_number = |number| {
        if printed.is_ok() {
            printed = print(&format!("{number}\n"));
        }
    };
    conformance::begin(&host, &plugin, component, builds, print_number).map_err(CommandError::environment)?;
    printed.map(|()| Exit::Success)
}
