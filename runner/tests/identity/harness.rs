//! Starts this program in a container, and reads what it reports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// Set where the program runs in a container.
pub(crate) const INSIDE: &str = "DCD_IDENTITY_INSIDE";

/// Before the report, on a line of its own.
pub(crate) const MARK: &str = "identity-report: ";

/// The image that tests start their containers from.
pub(crate) const IMAGE: &str = "dcd-test/git";

pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// Whether the tests can run: an engine answers, and the image is there.
pub(crate) fn ready() -> bool {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    match READY.get_or_init(prepare) {
        Ok(()) => true,
        Err(reason) => skip(reason),
    }
}

/// Says why a test does nothing. In CI that is a failure: there, nobody reads the line.
pub(crate) fn skip(reason: &str) -> bool {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: {reason}");
    false
}

fn prepare() -> Result<(), String> {
    let version = Command::new("docker").arg("version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err("no Docker engine answers (scripts/docker/docker-up starts one)".to_owned());
    }
    if docker(&["image", "inspect", IMAGE]).status.success() {
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/docker/base-image");
    match Command::new(&script).arg("git").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => Err(format!("{} did not start: {error}", script.display())),
    }
}

pub(crate) fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().unwrap()
}

/// What a command of docker's prints; it must succeed.
pub(crate) fn output(arguments: &[&str]) -> String {
    let output = docker(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A name that no other test and no other run of the tests uses.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("dcd-identity-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A container, removed by its id when the test ends, however it ends.
pub(crate) struct Removed(pub String);

impl Drop for Removed {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0]);
    }
}

/// How to start this program where nothing is installed: with the C library of this machine.
pub(crate) struct Program {
    pub(crate) mounts: Vec<String>,
    pub(crate) command: Vec<String>,
}

impl Program {
    pub(crate) fn this() -> Self {
        let program = std::env::current_exe().unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let libraries: BTreeSet<&str> = maps
            .lines()
            .filter_map(|line| Some(line.get(73..)?.trim()))
            .filter(|path| path.contains(".so"))
            .collect();
        let name = |path: &str| Path::new(path).file_name().unwrap().to_string_lossy().into_owned();
        let mut mounts = vec![format!("{}:/t/identity:ro", program.display())];
        mounts.extend(libraries.iter().map(|path| format!("{path}:/t/lib/{}:ro", name(path))));
        let loader = libraries.iter().map(|path| name(path)).find(|name| name.starts_with("ld-"));
        let mut command: Vec<String> = match loader {
            Some(loader) => {
                vec![format!("/t/lib/{loader}"), "--library-path".to_owned(), "/t/lib".to_owned()]
            }
            None => vec![],
        };
        command.extend(["/t/identity", "--exact", "inside", "--nocapture"].map(str::to_owned));
        Self { mounts, command }
    }
}

/// What the program in a container found out, beside what the engine says.
pub(crate) struct Report {
    pub(crate) facts: Value,
    pub(crate) inspect: Value,
    _container: Removed,
}

/// A container to be.
pub(crate) struct Run {
    image: String,
    options: Vec<String>,
    socket: Option<String>,
}

impl Run {
    /// With the engine's socket mounted.
    pub(crate) fn new() -> Self {
        Self { image: IMAGE.to_owned(), options: vec![], socket: Some(format!("{SOCKET}:{SOCKET}")) }
    }

    pub(crate) fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// Something else in the socket's place.
    pub(crate) fn socket(mut self, mount: Option<String>) -> Self {
        self.socket = mount;
        self
    }

    pub(crate) fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// What to give `docker create`.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let program = Program::this();
        let mut arguments = vec!["-e".to_owned(), format!("{INSIDE}=1")];
        for mount in program.mounts.iter().chain(&self.socket) {
            arguments.extend(["-v".to_owned(), mount.clone()]);
        }
        arguments.extend(self.options.iter().cloned());
        arguments.push(self.image.clone());
        arguments.extend(program.command);
        arguments
    }

    pub(crate) fn create(&self) -> Removed {
        let arguments = self.arguments();
        let mut all = vec!["create"];
        all.extend(arguments.iter().map(String::as_str));
        // Warnings go to the other stream, but the id is on the last line in any case.
        Removed(output(&all).lines().last().unwrap().to_owned())
    }

    pub(crate) fn report(&self) -> Report {
        start(self.create())
    }

    /// The report must be of its own container.
    pub(crate) fn expect(&self, verified_by: &str) -> Report {
        let report = self.report();
        report.assert_own(verified_by);
        report
    }
}

/// Starts a container that was created, and waits for its report.
pub(crate) fn start(container: Removed) -> Report {
    let text = output(&["start", "-a", &container.0]);
    let facts = report_in(&text);
    let inspect: Value = serde_json::from_str(&output(&["inspect", &container.0])).unwrap();
    Report { facts, inspect: inspect[0].clone(), _container: container }
}

pub(crate) fn report_in(text: &str) -> Value {
    let line =
        text.lines().find_map(|line| line.split_once(MARK)).unwrap_or_else(|| panic!("no report in: {text}"));
    serde_json::from_str(line.1).unwrap()
}

impl Report {
    pub(crate) fn assert_own(&self, verified_by: &str) {
        let (container, inspect) = (&self.facts["container"], &self.inspect);
        assert_eq!(container["id"], inspect["Id"], "{container}");
        assert_eq!(container["verified_by"], verified_by);
        assert_eq!(container["name"].as_str(), inspect["Name"].as_str().unwrap().strip_prefix('/'));
        assert_eq!(container["hostname"], inspect["Config"]["Hostname"]);
        let mounts = container["mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), inspect["Mounts"].as_array().unwrap().len());
        assert_eq!(self.facts["image"]["id"], inspect["Image"], "{}", self.facts);
        assert_eq!(self.facts["image"]["reference"], inspect["Config"]["Image"]);
        assert_eq!(self.facts["leftovers"], serde_json::json!([]));
        eprintln!("{} us, {}", self.facts["microseconds"], container["verified_by"]);
    }

    /// The reason that stands in all three facts.
    pub(crate) fn reason(&self) -> &str {
        let of = |fact: &str| self.facts[fact]["absent"].as_str().unwrap_or_else(|| panic!("{}", self.facts));
        assert_eq!(of("docker"), of("container"));
        assert_eq!(of("docker"), of("image"));
        of("docker")
    }
}

/// A temporary directory whose path is short enough for a socket's name.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("dcd-id").tempdir_in("/tmp").unwrap();
    let path = directory.path().to_owned();
    (directory, path)
}
