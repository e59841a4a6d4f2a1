//! Where builds are kept: a JSON file per component, changed by one writer at a time.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::{Error, Help as _, serde_json};

use crate::rules::Component;

/// A writer that holds a file longer than this has died.
const STALE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            directory: path.into(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let help = format!(
            "grant it: \"allow\": {{\"fs\": [{{\"path\": \"{}\", \"access\": \"rw\"}}]}}",
            self.directory.display()
        );
        fs::read_dir(&self.directory)
            .context(format!("cannot read {}", self.directory.display()))
            .help(help)?;
        Ok(())
    }

    /// The names of all components.
    pub(crate) fn components(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)
            .context(format!("cannot read {}", self.directory.display()))?
        {
            let name = entry?.file_name();
            names.extend(
                name.to_str()
                    .and_then(|name| name.strip_suffix(".json"))
                    .map(|name| name.replace('+', "/")),
            );
        }
        Ok(names)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Component, Error> {
        let file = self.file(name, "json");
        match fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).context(format!("{} is damaged", file.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Component::default()),
            Err(error) => Err(error).context(format!("cannot read {}", file.display())),
        }
    }

    /// Reads, changes and writes a component while nobody else does. It appears changed as a whole or not at all.
    pub(crate) fn change<R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Component) -> R,
    ) -> Result<R, Error> {
        let _held = Held::new(self.file(name, "lock"))?;
        let mut component = self.read(name)?;
        let result = change(&mut component);
        let (file, hidden) = (self.file(name, "json"), self.file(name, "new"));
        let what = || format!("cannot write {}", hidden.display());
        let mut out = fs::File::create(&hidden).context(what())?;
        out.write_all(&serde_json::to_vec(&component)?)
            .and_then(|()| out.sync_all())
            .context(what())?;
        fs::rename(&hidden, &file).context(format!("cannot write {}", file.display()))?;
        Ok(result)
    }

    /// A component's name has letters, digits and `._-/`.
    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.directory
            .join(format!("{}.{extension}", name.replace('/', "+")))
    }
}

/// The right to write a file: another file, that only one can create.
struct Held(PathBuf);

impl Held {
    fn new(path: PathBuf) -> Result<Self, Error> {
        let start = SystemTime::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).context(format!("cannot write {}", path.display()));
                }
            }
            if is_stale(&path) {
                _ = fs::remove_file(&path);
            } else if start.elapsed().is_ok_and(|waited| waited > STALE / 2) {
                return Err(Error::unavailable(format!(
                    "somebody else holds {}",
                    path.display()
                )));
            } else {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

fn is_stale(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > STALE))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
