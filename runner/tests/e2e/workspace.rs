//! A directory that a pipeline runs in.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{eventually, output, setup, text_of};

/// A git repository with a remote, and a pipeline in it.
pub(crate) struct Workspace {
    root: TempDir,
    path: PathBuf,
    /// Whether files may belong to somebody else than who runs the tests.
    foreign: bool,
}

impl Workspace {
    /// The pipeline is committed and pushed.
    pub(crate) fn new(pipeline: &Value) -> Self {
        let root = tempfile::Builder::new().prefix("dcd-e2e").tempdir_in("/tmp").unwrap();
        let workspace = Workspace { path: root.path().join("checkout"), root, foreign: false };
        fs::create_dir(&workspace.path).unwrap();
        workspace.git(&["init", "-q", "--bare", "-b", "main", "../shop.git"]);
        workspace.git(&["init", "-q", "-b", "main"]);
        workspace.git(&["config", "user.name", "Ann"]);
        workspace.git(&["config", "user.email", "ann@example.org"]);
        let remote = workspace.root.path().join("shop.git");
        workspace.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
        fs::write(workspace.path.join("dcd.json"), format!("{pipeline:#}\n")).unwrap();
        workspace.git(&["add", "."]);
        workspace.git(&["commit", "-q", "-m", "Add a pipeline"]);
        workspace.git(&["push", "-q", "-u", "origin", "main"]);
        workspace
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What git says, on this machine.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let git = Command::new("git")
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        text_of(&git, &format!("git {arguments:?}"))
    }

    /// What the `dcd` of the tests prints, on this machine; it must succeed.
    pub(crate) fn dcd(&self, arguments: &[&str]) -> String {
        let mut dcd = Command::new(env!("CARGO_BIN_EXE_dcd"));
        dcd.args(arguments).current_dir(&self.path).stdin(Stdio::null());
        text_of(&dcd.output().unwrap(), &format!("dcd {arguments:?}"))
    }

    /// `dcd history show --json`, on this machine.
    pub(crate) fn show(&self, build: &str) -> Value {
        serde_json::from_str(&self.dcd(&["history", "show", build, "--local", "--json"])).unwrap()
    }

    /// What a step printed.
    pub(crate) fn log(&self, build: &str, step: &str) -> String {
        self.dcd(&["history", "logs", build, step, "--local"])
    }

    /// Waits until a step has made the file.
    pub(crate) fn wait_for(&self, file: &str) {
        eventually(file, || self.path.join(file).exists().then_some(()));
    }

    /// Makes a file, for which a step may be waiting.
    pub(crate) fn touch(&self, file: &str) {
        fs::write(self.path.join(file), "").unwrap();
    }

    /// Gives all of it to a user and a group of this number.
    pub(crate) fn give_to(&mut self, owner: u32) {
        self.foreign = true;
        self.chown(&format!("{owner}:{owner}"));
    }

    /// By a container: who runs the tests need not be root.
    fn chown(&self, owner: &str) {
        let path = self.root.path().to_str().unwrap();
        let mount = format!("{path}:{path}");
        output(&["run", "--rm", "-v", &mount, &setup().unwrap().base, "chown", "-R", owner, path]);
    }

    /// Each file under `directory` with its owner and group.
    pub(crate) fn owners(&self, directory: &str) -> Vec<(PathBuf, u32, u32)> {
        let mut found = Vec::new();
        let mut todo = vec![self.path.join(directory)];
        while let Some(path) = todo.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push((path, metadata.uid(), metadata.gid()));
        }
        found
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        // What containers have made belongs to root, too.
        if self.foreign || !uid.is_root() {
            self.chown(&format!("{}:{}", uid.as_raw(), gid.as_raw()));
        }
    }
}
