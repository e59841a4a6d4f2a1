//! The script that `dcd init` writes, as users start it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::engine::{SOCKET, both, docker, output, setup, text_of, unique};
use crate::team::{Team, exclusive};
use crate::workspace::Workspace;

const USER: u32 = 12345;

/// A workspace with the script in it, both a user's who is not root.
struct Project {
    workspace: Workspace,
    env: Vec<(String, String)>,
}

impl Project {
    fn new(image: &str, script: &str) -> Self {
        Self::with(image, &json!({ "steps": [{ "name": "test", "run": script }] }))
    }

    fn with(image: &str, pipeline: &Value) -> Self {
        let mut workspace = Workspace::new(pipeline);
        let setup = setup().unwrap();
        let mut init = Command::new(env!("CARGO_BIN_EXE_dcd"));
        init.args(["init", "--image", image, "--base", &setup.base, "--stock", &setup.stock]);
        text_of(&init.current_dir(workspace.path()).output().unwrap(), "dcd init");
        fs::create_dir_all(workspace.path().join("a/b")).unwrap();
        fs::create_dir(workspace.path().parent().unwrap().join("home")).unwrap();
        if rustix::process::getuid().is_root() {
            workspace.give_to(USER);
        }
        Project { workspace, env: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.workspace.path()
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of the user's. Who runs the tests may be that user already, or is root.
    fn command(&self, program: &str) -> Command {
        let mut command = if rustix::process::getuid().is_root() {
            let group = fs::metadata(SOCKET).unwrap().gid().to_string();
            let user = USER.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--groups", &group, program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.path()).stdin(Stdio::null());
        command.env("HOME", self.path().parent().unwrap().join("home")).env_remove("XDG_STATE_HOME");
        command.env_remove("DCD_USER").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().unwrap()
    }

    fn uid(&self) -> u32 {
        fs::metadata(self.path()).unwrap().uid()
    }
}

/// An image's name that goes with the test.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        exclusive(|| docker(&["rmi", &self.0]));
    }
}

#[test]
fn files_stay_the_users_and_paths_are_as_outside() {
    let Some(team) = Team::build() else { return };
    let script = "pwd; id -u; touch made $HOME/x; echo $DCD_USER $DCD_LOCK_DIR ${CARGO_TOKEN:-}.${UNSAID:-}.$NO_PROXY; \
                  touch $DCD_LOCK_DIR/lock; docker version --format '{{.Server.Os}}'; git log -1 --format=%s; exit 7";
    let project = Project::new(&team.image, script);
    let project = project.env("CARGO_TOKEN", "t0").env("UNSAID", "no").env("NO_PROXY", "host");
    let run = project.run("cd a/b && DCD_PULL=never DCD_PASS='CARGO_TOKEN NONE' ../../dcd run");
    assert_eq!(run.status.code(), Some(1), "{}", both(&run));
    let show = project.workspace.show("latest");
    assert_eq!(show["steps"][0]["attempts"][0]["exit_code"], 7, "{}", both(&run));
    assert_eq!(show["facts"]["container"]["verified_by"], "upper_dir");
    assert_eq!(show["facts"]["image"]["reference"], team.image);
    assert_eq!(show["facts"]["user"]["name"], "ann@example.org");
    let locks = project.path().parent().unwrap().join("home/.local/state/dcd/locks");
    let (path, uid) = (project.path().display(), project.uid());
    let said = format!(
        "{path}\n{uid}\nann@example.org {}\n",
        format_args!("{} t0..host\nlinux\nAdd a pipeline", locks.display())
    );
    assert_eq!(project.workspace.log("latest", "test"), said.trim_end());
    assert!(locks.join("lock").exists());
    for (file, uid, _) in project.workspace.owners(".") {
        assert_eq!(uid, project.uid(), "{}", file.display());
    }
    // Another shell, another user in the container, another command; a file that is named stays where it is.
    let run = project.run("DCD_PULL=never DCD_AS_ROOT=1 bash ./dcd run");
    assert_eq!(run.status.code(), Some(1), "{}", both(&run));
    let log = project.workspace.log("latest", "test");
    assert_eq!((log.lines().nth(1), log.lines().last()), (Some("0"), Some("Add a pipeline")));
    let run = project.run(
        "cd a/b && ../../dcd history list --json && echo '{' >other.json && ../../dcd validate other.json",
    );
    assert_eq!(run.status.code(), Some(2), "{}", both(&run));
    assert!(both(&run).contains("other.json:1:"), "{}", both(&run));
}

#[test]
fn a_worktree_has_its_repository() {
    let Some(team) = Team::build() else { return };
    let project = Project::new(&team.image, "git log -1 --format=%s; pwd");
    let add = "git add . && git -c user.name=Ann -c user.email=a@b commit -qm Two && git worktree add -q -b other '../w t,x'";
    text_of(&project.run(add), add);
    let run = project.run("cd '../w t,x' && DCD_PULL=never ./dcd run");
    let text = text_of(&run, "dcd run");
    let tree: PathBuf = project.path().parent().unwrap().join("w t,x");
    assert!(
        text.contains(" test | Two\n") && text.contains(&format!(" test | {}\n", tree.display())),
        "{text}"
    );
    assert!(text.contains(&text_of(&project.run("git rev-parse HEAD"), "git")), "{text}");
}

#[test]
fn a_lock_holds_for_all_clones_of_a_user() {
    let Some(team) = Team::build() else { return };
    let busy = "[ ! -e $DCD_LOCK_DIR/busy ]; touch ready $DCD_LOCK_DIR/busy; sleep 2; rm $DCD_LOCK_DIR/busy";
    let pipeline = json!({ "lock": { "name": "deploy" }, "steps": [{ "name": "test", "run": busy }] });
    let project = || Project::with(&team.image, &pipeline).env("DCD_PULL", "never");
    let first = project();
    let state = first.path().parent().unwrap().join("home/.local/state");
    let second = project().env("XDG_STATE_HOME", state.to_str().unwrap());
    let mut command = first.command("./dcd");
    let mut running = command.arg("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    first.workspace.wait_for("ready");
    text_of(&second.run("./dcd run"), "the second run");
    assert!(running.wait().unwrap().success());
}

#[test]
fn a_terminal_is_passed_on_where_there_is_one() {
    let Some(team) = Team::build() else { return };
    let project =
        Project::new(&team.image, "trap 'echo put away; exit 0' TERM; touch ready; sleep 60 & wait || :");
    let project = project.env("DCD_PULL", "never");
    let mut terminal = project.command("script");
    terminal.args(["-qec", "./dcd run", "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = terminal.spawn().unwrap();
    project.workspace.wait_for("ready");
    running.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let run = running.wait_with_output().unwrap();
    assert_eq!(run.status.code(), Some(130), "{}", both(&run));
    assert!(both(&run).contains("\x1b["), "no colour: {}", both(&run));
    assert_eq!(project.workspace.show("latest")["outcome"], "cancellation");
    assert_eq!(project.workspace.log("latest", "test"), "put away");

    // Without a terminal the signal is the script's, which has become the engine's client.
    fs::remove_file(project.path().join("ready")).unwrap();
    let mut plain = project.command("./dcd");
    plain.arg("run").stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = plain.spawn().unwrap();
    project.workspace.wait_for("ready");
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let run = running.wait_with_output().unwrap();
    assert_eq!(run.status.code(), Some(130), "{}", both(&run));
    assert!(!both(&run).contains("\x1b["), "{}", both(&run));
    assert_eq!(project.workspace.show("latest")["outcome"], "cancellation");
}

#[test]
fn the_image_is_pulled_else_the_one_that_is_here_is_used() {
    let Some(mut team) = Team::build() else { return };
    let digest = team.push();
    let project = Project::new(&team.image, "echo $DCD_IMAGE_DIGEST");
    let gone = Name(format!("127.0.0.1:1/{}:latest", unique("gone")));
    output(&["tag", &team.image, &gone.0]);
    team.forget();
    // Not here: pulled, also for a command that runs nothing; then only a run looks for a newer one.
    let run = project.run("./dcd validate && DCD_PULL=never ./dcd run && ./dcd run");
    assert!(run.status.success(), "{}", both(&run));
    assert_eq!(both(&run).matches(&format!("dcd: image {digest}\n")).count(), 2, "{}", both(&run));
    assert_eq!(project.workspace.log("latest", "test"), digest);

    let run = project.env("DCD_IMAGE", &gone.0).run("./dcd run");
    assert!(run.status.success(), "{}", both(&run));
    let said = both(&run);
    assert!(said.contains("using the copy of the image that is here, as it cannot be pulled: "), "{said}");
    assert!(said.contains("connection refused"), "{said}");
}

#[test]
fn an_image_that_is_nowhere_is_built() {
    let Some(setup) = setup() else { return };
    let image = Name(format!("{}/{}:latest", setup.registry, unique("built")));
    let project = Project::new(&image.0, "echo built ${ADDED:-}");
    let run = exclusive(|| project.run("./dcd run"));
    assert!(run.status.success(), "{}", both(&run));
    assert!(both(&run).contains(&format!("dcd: building {} from Dockerfile", image.0)), "{}", both(&run));
    assert!(both(&run).contains("which was not pushed"), "{}", both(&run));
    let run = project.run("echo 'ENV ADDED=anew' >>Dockerfile && DCD_BUILD=1 ./dcd run");
    assert!(run.status.success(), "{}", both(&run));
    assert_eq!(project.workspace.log("latest", "test"), "built anew");
    // And says so where there is nothing to build it from.
    let run = project.run("rm Dockerfile && DCD_IMAGE=localhost/nobody-has-this ./dcd run");
    assert_eq!(run.status.code(), Some(3));
    assert!(both(&run).contains("localhost/nobody-has-this is not here, and neither is"), "{}", both(&run));
}

#[test]
fn the_engine_may_be_podman_or_elsewhere() {
    let Some(_) = setup() else { return };
    let project = Project::new("localhost/x", "true");
    let bin = project.path().parent().unwrap().join("bin");
    fs::create_dir(&bin).unwrap();
    // Says what it is asked for; the real one is nothing that the tests install.
    let podman = "#!/bin/sh\ncase $1 in info) echo unix:///run/user/1/podman/podman.sock ;; image) echo ID ;; run) printf '%s\\n' \"$@\" ;; esac\n";
    fs::write(bin.join("podman"), podman).unwrap();
    fs::set_permissions(bin.join("podman"), fs::Permissions::from_mode(0o755)).unwrap();
    for tool in ["sh", "id", "sed", "env", "mkdir", "dirname", "uname", "git", "awk", "cat"] {
        let found =
            text_of(&Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().unwrap(), tool);
        std::os::unix::fs::symlink(found, bin.join(tool)).unwrap();
    }
    let path = bin.to_str().unwrap();
    let run =
        project.command("env").args([&format!("PATH={path}"), "sh", "./dcd", "run", "a b"]).output().unwrap();
    let text = text_of(&run, "podman");
    let socket = "type=bind,\"source=/run/user/1/podman/podman.sock\",\"target=/var/run/docker.sock\"\n";
    assert!(text.contains(socket) && text.ends_with("localhost/x:latest\nrun\na b"), "{text}");
    assert!(!text.contains("--user"), "its root is the user: {text}");

    let run = project.run("DOCKER_HOST=ssh://me@host ./dcd run");
    assert_eq!(run.status.code(), Some(3));
    assert!(both(&run).contains("is on another machine"), "{}", both(&run));
}
