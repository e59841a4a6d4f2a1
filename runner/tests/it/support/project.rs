//! A hermetic place to run `dcd` in.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Cleaner, Running};

/// A workspace in a directory of its own, with its own HOME, and an environment that has only what the test says.
pub(crate) struct Project {
    root: TempDir,
    workspace: PathBuf,
    plugins: BTreeMap<String, Value>,
    env: BTreeMap<String, String>,
}

/// What a finished `dcd` left.
pub(crate) struct Output {
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
    /// Every byte.
    pub(crate) stdout: Vec<u8>,
    /// As text, without what differs from run to run.
    pub(crate) out: String,
    /// As text, without what differs from run to run.
    pub(crate) err: String,
}

impl Project {
    pub(crate) fn new() -> Self {
        // Always as long a name as this one: messages are wrapped at a width.
        let root = tempfile::Builder::new().prefix("dcd").rand_bytes(6).tempdir_in("/tmp").unwrap();
        let workspace = root.path().join("shop");
        fs::create_dir_all(&workspace).unwrap();
        fs::create_dir_all(root.path().join("home")).unwrap();
        Project { root, workspace, plugins: BTreeMap::new(), env: BTreeMap::new() }
    }

    /// The workspace's path.
    pub(crate) fn path(&self) -> &Path {
        &self.workspace
    }

    /// The directory that holds the workspace: what is there is outside of it.
    pub(crate) fn outside(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(path, text);
        self
    }

    /// [`Project::file`], later.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Sets a file's executable bit.
    pub(crate) fn executable(&self, path: &str) {
        fs::set_permissions(self.workspace.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts a plugin into the workspace, to be named in a `plugins` block.
    pub(crate) fn plugin(self, name: &str) -> Self {
        self.granted(name, &json!({}))
    }

    /// [`Project::plugin`], with what it is allowed.
    pub(crate) fn granted(self, name: &str, allow: &Value) -> Self {
        self.limited(name, allow, &json!({}))
    }

    /// A plugin that is installed, and so costs no time to compile; the only one of the project.
    pub(crate) fn installed(mut self, name: &str, allow: &Value) -> Self {
        self.plugins.insert(name.to_owned(), json!({ "allow": allow }));
        let directory = installed(name);
        self.env("DCD_PLUGIN_PATH", directory.to_str().unwrap())
    }

    /// [`Project::granted`], with limits.
    pub(crate) fn limited(mut self, name: &str, allow: &Value, limits: &Value) -> Self {
        let file = format!("{name}.wasm");
        std::os::unix::fs::symlink(plugin_file(name), self.workspace.join(&file)).unwrap();
        self.plugins.insert(name.to_owned(), json!({ "path": file, "allow": allow, "limits": limits }));
        self
    }

    /// Writes `dcd.json`, with a block for each plugin so far.
    pub(crate) fn pipeline(self, mut pipeline: Value) -> Self {
        if !self.plugins.is_empty() {
            pipeline["plugins"] = json!(self.plugins);
        }
        self.write("dcd.json", format!("{pipeline:#}\n"));
        self
    }

    /// A pipeline of shell steps, named `a`, `b`, and so on.
    pub(crate) fn scripts(self, scripts: &[&str]) -> Self {
        let step = |(index, script): (usize, &&str)| {
            let name = char::from(b'a' + u8::try_from(index).unwrap()).to_string();
            json!({ "name": name, "run": script })
        };
        let steps: Vec<_> = scripts.iter().enumerate().map(step).collect();
        self.pipeline(json!({ "steps": steps }))
    }

    /// Sets a variable of the runner's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Makes the workspace a repository with all its files committed.
    pub(crate) fn git(self) -> Self {
        self.git_run(&["init", "--quiet", "--initial-branch=main"]);
        self.git_run(&["add", "."]);
        self.git_run(&["commit", "--quiet", "--message=first"]);
        self
    }

    /// Runs git, whose output it gives back.
    pub(crate) fn git_run(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
        let output = self.clean(Command::new("git")).args(identity).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn clean(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.path().join("home"))
            .env("DOCKER_HOST", format!("unix://{}/no.sock", self.root.path().display()))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("DCD_USER", "ada@example.com")
            .env("TZ", "UTC")
            .env("NO_COLOR", "1")
            .envs(&self.env)
            .current_dir(&self.workspace)
            .stdin(Stdio::null());
        command
    }

    /// `dcd` with these arguments, to be started by the test itself.
    pub(crate) fn dcd(&self, args: &[&str]) -> Command {
        let mut command = self.clean(Command::new(env!("CARGO_BIN_EXE_dcd")));
        command.args(args);
        command
    }

    /// A shell's command in a terminal of its own, whose keys are its standard input.
    pub(crate) fn in_terminal(&self, command: &str) -> Command {
        let mut script = self.clean(Command::new("script"));
        script.args(["-qec", command, "/dev/null"]).env("SHELL", "/bin/sh").stdin(Stdio::piped());
        script
    }

    /// Runs `dcd` where names mean what these lines say, in the form of `/etc/hosts`. `None` where no file system can
    /// be mounted.
    pub(crate) fn run_with_hosts(&self, hosts: &str, args: &str) -> Option<Output> {
        fs::write(self.outside().join("hosts"), format!("127.0.0.1 localhost\n{hosts}")).unwrap();
        let script = format!("mount --bind ../hosts /etc/hosts || exit 77; exec \"$DCD_BIN\" {args}");
        let run = self.shell(&format!("unshare --mount --map-root-user sh -c '{script}'"));
        let impossible = run.code == 77 || run.err.contains("unshare");
        assert!(!impossible || std::env::var_os("CI").is_none(), "nothing can be mounted here: {}", run.err);
        (!impossible).then_some(run)
    }

    /// A shell with `dcd` in `$DCD_BIN`.
    pub(crate) fn shell(&self, script: &str) -> Output {
        let mut command = self.clean(Command::new("/bin/sh"));
        command.env("DCD_BIN", env!("CARGO_BIN_EXE_dcd")).args(["-c", script]);
        Running::start(command, self.cleaner()).finish()
    }

    /// Starts `dcd`.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        Running::start(self.dcd(args), self.cleaner())
    }

    /// Runs `dcd` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.spawn(args).finish()
    }

    /// Runs `dcd`, which must succeed, for the JSON that it prints.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert_eq!(output.code, 0, "dcd {args:?}: {}", output.err);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("dcd {args:?}: {error}: {}", output.out))
    }

    /// `dcd history show BUILD --json`.
    pub(crate) fn show(&self, build: &str) -> Value {
        self.json(&["history", "show", build, "--json"])
    }

    /// `dcd history logs BUILD`, every byte of it.
    pub(crate) fn logs(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(&[&["history", "logs"], args].concat());
        assert_eq!((output.code, output.err.as_str()), (0, ""));
        output.stdout
    }

    /// The journals, oldest first.
    pub(crate) fn journals(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.workspace.join(".dcd/builds")).into_iter().flatten();
        let mut journals: Vec<_> = entries.map(|entry| entry.unwrap().path().join("journal")).collect();
        journals.sort();
        journals
    }

    /// Replaces what differs from run to run.
    pub(crate) fn cleaner(&self) -> Cleaner {
        Cleaner::new(self.root.path())
    }
}

/// A plugin's file, as `make plugins` builds it.
pub(crate) fn plugin_file(name: &str) -> PathBuf {
    let file = format!("plugins/target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file);
    assert!(path.exists(), "{} is missing: run make plugins", path.display());
    path
}

impl Output {
    /// Fails unless the exit code is this one; then shows all that was printed.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A directory with the plugin, installed once for all tests: this `dcd` would take seconds to compile it, each time.
pub(crate) fn installed(plugin: &str) -> PathBuf {
    let (dcd, wasm) = (Path::new(env!("CARGO_BIN_EXE_dcd")), plugin_file(plugin));
    let made = |file: &Path| {
        let modified = fs::metadata(file).unwrap().modified().unwrap();
        modified.duration_since(UNIX_EPOCH).unwrap().as_nanos()
    };
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = all.join(format!("{plugin}-{}-{}", made(dcd), made(&wasm)));
    if !place.exists() {
        let fresh = tempfile::tempdir_in(all).unwrap();
        let mut install = Command::new(dcd);
        install.args(["plugin", "install", "--dir"]).arg(fresh.path()).arg(&wasm);
        let done = install.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        // Another test may have been quicker.
        let _ = fs::rename(fresh.path(), &place);
    }
    place
}
