//! The engine, and what the tests ask of it.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// Patience with an engine that other tests keep busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// What `scripts/test` has made.
pub(crate) struct Setup {
    /// The stock image.
    pub(crate) stock: String,
    /// The image of the first-party plugins.
    pub(crate) plugins: String,
    /// An image with a shell and git, for teams to build upon.
    pub(crate) base: String,
    /// A registry's address.
    pub(crate) registry: String,
}

/// `None`, with a line that says why, when the tests cannot run.
pub(crate) fn setup() -> Option<&'static Setup> {
    static SETUP: OnceLock<Option<Setup>> = OnceLock::new();
    let setup = SETUP.get_or_init(|| {
        std::env::var_os("DCD_E2E")?;
        let get = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        Some(Setup {
            stock: get("DCD_E2E_STOCK_IMAGE"),
            plugins: get("DCD_E2E_PLUGINS_IMAGE"),
            base: get("DCD_E2E_BASE_IMAGE"),
            registry: get("DCD_E2E_REGISTRY"),
        })
    });
    if setup.is_none() {
        let reason = "DCD_E2E is not set: run the container tests with scripts/test";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
        eprintln!("skipped: {reason}");
    }
    setup.as_ref()
}

/// A name that no other test and no other run of the tests uses.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("dcd-e2e-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a command of docker's prints; it must succeed.
pub(crate) fn output(arguments: &[&str]) -> String {
    text_of(&docker(arguments), &format!("docker {arguments:?}"))
}

/// The first of the things that `docker inspect` describes.
pub(crate) fn inspect(what: &str) -> Value {
    let mut found: Value = serde_json::from_str(&output(&["inspect", what])).unwrap();
    found[0].take()
}

/// Standard output of something that must have succeeded.
pub(crate) fn text_of(output: &Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}\n{}", output.status, both(output));
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_owned()
}

/// All that was printed.
pub(crate) fn both(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// `docker run` in the foreground, started and not yet ended. The container goes when this does.
pub(crate) struct Running {
    child: Option<Child>,
    cidfile: PathBuf,
    _directory: TempDir,
}

impl Running {
    /// `start` gets the options to add to those of `docker run`.
    pub(crate) fn start(start: impl FnOnce(&[&str]) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cidfile = directory.path().join("cid");
        let mut command = start(&["--cidfile", cidfile.to_str().unwrap()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: Some(command.spawn().unwrap()), cidfile, _directory: directory }
    }

    /// The container's id.
    pub(crate) fn id(&self) -> String {
        eventually("the container's id", || self.known_id())
    }

    fn known_id(&self) -> Option<String> {
        std::fs::read_to_string(&self.cidfile).ok().filter(|id| !id.is_empty())
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Waited for to its end, it is gone already: `--rm`.
        let Some(mut child) = self.child.take() else { return };
        if let Some(id) = self.known_id() {
            docker(&["rm", "-f", "-v", &id]);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
