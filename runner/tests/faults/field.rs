//! Where the builds run: some workspaces, each with all pipelines, and `dcd` in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    backend::Backend,
    disk::Disk,
    plan::{SMALL, WORKSPACES},
    recipe::Recipe,
};

/// The workspaces of one run.
pub(crate) struct Field {
    root: TempDir,
    /// The disk of the last workspace.
    pub(crate) disk: Result<Disk, String>,
}

/// Two workspaces each build the same component, so that their numbers are one sequence.
const COMPONENTS: [&str; 2] = ["shop", "depot"];

impl Field {
    /// Makes the workspaces, and installs the backend's plugin for them.
    pub(crate) fn new(backend: &dyn Backend) -> Self {
        let root = tempfile::Builder::new().prefix("dcd-faults").tempdir_in("/tmp").unwrap();
        let disk = Disk::mount(&root.path().join("small"));
        let field = Field { root, disk };
        for directory in ["home", "plugins"] {
            fs::create_dir(field.root.path().join(directory)).unwrap();
        }
        field.install(backend.plugin());
        for workspace in 0..WORKSPACES {
            fs::create_dir_all(field.workspace(workspace)).unwrap();
            for recipe in Recipe::ALL {
                field.write(backend, workspace, recipe);
            }
        }
        field
    }

    /// A workspace's directory.
    pub(crate) fn workspace(&self, index: usize) -> PathBuf {
        match index {
            SMALL => self.root.path().join("small/workspace"),
            _ => self.root.path().join(format!("workspace-{index}")),
        }
    }

    /// Keeps the workspaces for who looks for what went wrong; but the disk is gone with this process.
    pub(crate) fn keep(self) -> PathBuf {
        let small = self.workspace(SMALL);
        let kept = self.root.keep();
        if self.disk.is_ok() {
            let copied =
                Command::new("cp").arg("-a").arg(small).arg(kept.join("workspace-of-the-disk")).status();
            assert!(copied.unwrap().success());
        }
        kept
    }

    /// `dcd`, in a workspace.
    pub(crate) fn dcd(&self, workspace: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dcd"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.path().join("home"))
            .env("DCD_PLUGIN_PATH", self.root.path().join("plugins"))
            .env("DOCKER_HOST", "unix:///none.sock")
            .env("DCD_USER", "ada@example.com")
            .env("GIT_CEILING_DIRECTORIES", "/tmp")
            .env("TZ", "UTC")
            .current_dir(self.workspace(workspace))
            .stdin(Stdio::null());
        command
    }

    /// Compiles the plugin once, and not at every start.
    fn install(&self, plugin: &str) {
        let file = format!("plugins/target/wasm32-wasip2/release/{}.wasm", plugin.replace('-', "_"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file);
        assert!(path.exists(), "{} is missing: run make plugins", path.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_dcd"));
        command.args(["plugin", "install", "--dir"]).arg(self.root.path().join("plugins")).arg(path);
        let installed = command.output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }

    fn write(&self, backend: &dyn Backend, workspace: usize, recipe: Recipe) {
        let (with, allow) = backend.settings();
        // A silent network ends a call by the plugin's own limit in some workspaces, by the host's in others.
        let limits = if workspace == 1 { json!({ "call_timeout": "2s" }) } else { json!({}) };
        let pipeline = json!({
            "component": COMPONENTS[workspace % COMPONENTS.len()],
            "history": { "uses": backend.plugin(), "with": with },
            "plugins": { backend.plugin(): { "allow": allow, "limits": limits } },
            "steps": recipe.steps(),
        });
        fs::write(self.workspace(workspace).join(recipe.file()), format!("{pipeline:#}\n")).unwrap();
    }
}
