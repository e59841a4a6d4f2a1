//! A team's own image, built upon the stock image as its users are told.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::engine::{Running, Setup, docker, output, setup, text_of, unique};
use crate::http;
use crate::workspace::Workspace;

/// The plugins that the image has.
const PLUGINS: [&str; 3] = ["fixture.wasm", "http.wasm", "history_dir.wasm"];

/// As the project's page says it, without `-it`: there is no terminal.
const RUN: &str =
    "exec docker run -v /var/run/docker.sock:/var/run/docker.sock -v $PWD:$PWD -w $PWD --rm \"$@\"";
const RUN_WITHOUT_SOCKET: &str = "exec docker run -v $PWD:$PWD -w $PWD --rm \"$@\"";

/// The image. Its names go when this does.
pub(crate) struct Team {
    setup: &'static Setup,
    /// Without registry and tag.
    repository: String,
    /// With both.
    pub(crate) image: String,
    digest: Option<String>,
}

/// Where `scripts/plugins` has put a plugin.
pub(crate) fn plugin(file: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/target/wasm32-wasip2/release");
    built.join(file)
}

/// All that builds or removes these images, one at a time: their layers are the same, and the last name that
/// is removed takes them along, also from under a build that is about to use them.
pub(crate) fn exclusive<T>(work: impl FnOnce() -> T) -> T {
    let file = File::create(std::env::temp_dir().join("dcd-e2e-images.lock")).unwrap();
    file.lock().unwrap();
    work()
}

impl Team {
    /// Builds it, with plugins that are only copied. `None` when the tests cannot run.
    pub(crate) fn build() -> Option<Self> {
        let copied = format!("COPY {} /dcd-plugins/\n", PLUGINS.join(" "));
        Team::with(&copied)
    }

    /// Builds it with what `lines` of its Dockerfile add to the base image and `/dcd`.
    pub(crate) fn with(lines: &str) -> Option<Self> {
        let setup = setup()?;
        let context = tempfile::tempdir().unwrap();
        let dockerfile = format!(
            "FROM {} AS dcd\n\
             FROM {} AS plugins\n\
             FROM {}\n\
             COPY --from=dcd /dcd /dcd\n\
             {}\
             ENTRYPOINT [\"/dcd\"]\n",
            setup.stock, setup.plugins, setup.base, lines
        );
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        for file in PLUGINS {
            let built = plugin(file);
            assert!(built.exists(), "{} is missing: scripts/plugins makes it", built.display());
            fs::copy(&built, context.path().join(file)).unwrap();
        }
        let repository = format!("{}/shop-dcd", unique("org"));
        let image = format!("{}/{repository}:latest", setup.registry);
        exclusive(|| output(&["build", "-q", "-t", &image, context.path().to_str().unwrap()]));
        Some(Team { setup, repository, image, digest: None })
    }

    /// Pushes it. Gives the digest that the registry says it has.
    pub(crate) fn push(&mut self) -> String {
        let said = output(&["push", &self.image]);
        let path = format!("/v2/{}/manifests/latest", self.repository);
        let answer = http::ask(&self.setup.registry, "HEAD", &path);
        let digest = answer.header("docker-content-digest").unwrap_or_else(|| panic!("{answer:?}"));
        assert!(said.contains(&digest), "{digest} is not what was pushed:\n{said}");
        self.digest = Some(digest.clone());
        format!("{}/{}@{digest}", self.setup.registry, self.repository)
    }

    /// Removes it from this machine, but not from the registry.
    pub(crate) fn forget(&self) {
        exclusive(|| output(&["rmi", &self.image]));
    }

    /// A container of the image, in a workspace.
    pub(crate) fn dcd<'a>(&'a self, workspace: &'a Workspace) -> Dcd<'a> {
        Dcd { team: self, workspace, script: RUN, options: Vec::new() }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        exclusive(|| docker(&["rmi", &self.image]));
        if let Some(digest) = &self.digest {
            let name = format!("{}/{}@{digest}", self.setup.registry, self.repository);
            exclusive(|| docker(&["rmi", &name]));
            http::ask(&self.setup.registry, "DELETE", &format!("/v2/{}/manifests/{digest}", self.repository));
        }
    }
}

/// How to run `dcd` in a container.
pub(crate) struct Dcd<'a> {
    team: &'a Team,
    workspace: &'a Workspace,
    script: &'static str,
    options: Vec<String>,
}

impl Dcd<'_> {
    /// More options for `docker run`.
    pub(crate) fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    pub(crate) fn without_socket(mut self) -> Self {
        self.script = RUN_WITHOUT_SOCKET;
        self
    }

    fn command(&self, more: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", self.script, "sh"]).args(more).args(&self.options);
        command.arg(&self.team.image).args(arguments);
        command.current_dir(self.workspace.path()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(&[], arguments).output().unwrap()
    }

    /// What it prints; it must succeed.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        text_of(&self.output(arguments), &format!("dcd {arguments:?}"))
    }

    /// `dcd history show --json`, in a container.
    pub(crate) fn show(&self, build: &str) -> Value {
        serde_json::from_str(&self.text(&["history", "show", build, "--json"])).unwrap()
    }

    /// Starts it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(|more| self.command(more, arguments))
    }
}
