//! What lies beside a plugin that is installed: `NAME.cwasm`, compiled ahead of time, and its sidecar
//! `NAME.cwasm.json`, which says from what and for whom, and what a start would else have to find out.

use std::{
    fmt::Display,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
};

use blake3::Hasher;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::{Manifest, PluginError, compiler};

/// `NAME.cwasm.json`.
///
/// What a start has to compare is BLAKE3, which takes half the time of SHA-256 even where the processor has instructions for
/// that; what people and pipelines go by is SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    /// Of `NAME.wasm`.
    pub(crate) source_sha256: String,
    /// Of the same file. None in what a dcd wrote that compared by SHA-256.
    #[serde(default)]
    pub(crate) source_blake3: String,
    /// Of `NAME.cwasm`.
    #[serde(default)]
    pub(crate) cwasm_blake3: String,
    /// The version that compiled it.
    pub(crate) dcd: String,
    /// The triple that it was compiled for.
    pub(crate) target: String,
    pub(crate) manifest: Manifest,
    pub(crate) imports: Vec<String>,
    /// What the plugin answered to `describe`.
    pub(crate) config_schema: Value,
}

/// What a `.wasm` has beside it.
#[derive(Clone, Debug)]
pub(crate) enum Installed {
    /// It lies in no plugin directory, where nothing compiled is trusted.
    Elsewhere,
    /// Nothing.
    No,
    /// What this dcd can load, if its digest is right.
    Fresh(Box<Native>),
    /// What this dcd cannot load, and why.
    Stale(String),
}

/// A compiled form that is for this dcd and this file.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) sidecar: Sidecar,
    /// In bytes.
    pub(crate) size: u64,
    /// Of `NAME.wasm`, in bytes.
    pub(crate) source_size: u64,
    file: PathBuf,
    fingerprint: Fingerprint,
}

/// The BLAKE3 of a file, made beside whatever else there is to do. Its clones are one.
#[derive(Clone, Debug)]
struct Fingerprint {
    file: PathBuf,
    made: Arc<OnceLock<io::Result<String>>>,
}

/// Where the compiled form and its sidecar are.
pub(crate) fn paths(wasm: &Path) -> (PathBuf, PathBuf) {
    (wasm.with_extension("cwasm"), wasm.with_extension("cwasm.json"))
}

/// Looks at what is beside a `.wasm`.
pub(crate) fn read(
    wasm: &Path,
    unreadable: &dyn Fn(io::Error) -> PluginError,
) -> Result<Installed, PluginError> {
    let (cwasm, _) = paths(wasm);
    let native = sidecar(wasm).and_then(|sidecar| match sidecar.foreign() {
        Some(why) => Err(Installed::Stale(why)),
        None => Native::new(sidecar, cwasm),
    });
    let native = match native {
        Ok(native) => native,
        Err(installed) => return Ok(installed),
    };
    let (source_size, blake3) = digest(wasm).map_err(unreadable)?;
    if native.sidecar.source_blake3 == blake3 {
        return Ok(Installed::Fresh(Box::new(Native { source_size, ..native })));
    }
    Ok(Installed::Stale(format!("{} is not the file that it was compiled from", name(wasm))))
}

impl Native {
    /// Begins to make its digest: most of the time of a start is that.
    fn new(sidecar: Sidecar, file: PathBuf) -> Result<Self, Installed> {
        match fs::metadata(&file) {
            Ok(found) => {
                let fingerprint = Fingerprint::start(file.clone());
                Ok(Native { sidecar, size: found.len(), source_size: 0, file, fingerprint })
            }
            Err(error) => Err(Installed::Stale(unread(&file, &error))),
        }
    }

    /// Its file, which is the one that was installed; the inner error says why there is nothing to load. One that is
    /// another is an error, not a reason to compile anew: somebody changed it.
    pub(crate) fn verified(&self, wasm: &Path) -> Result<Result<&Path, String>, PluginError> {
        let expected = &self.sidecar.cwasm_blake3;
        match self.fingerprint.get() {
            Ok(digest) if digest == expected => Ok(Ok(&self.file)),
            Ok(digest) => Err(PluginError::new(format!(
                "{} is not the file that was installed: it has the digest {digest}, its sidecar says {expected}",
                self.file.display(),
            ))
            .help(format!("find out who changed it; {} writes it again", command(wasm)))),
            Err(error) => Ok(Err(unread(&self.file, error))),
        }
    }
}

impl Fingerprint {
    fn start(file: PathBuf) -> Self {
        let fingerprint = Fingerprint { file, made: Arc::default() };
        let made = fingerprint.clone();
        // Without a thread it is made by who asks for it.
        let _ = thread::Builder::new().name("plugin-digest".to_owned()).spawn(move || {
            made.get();
        });
        fingerprint
    }

    fn get(&self) -> &io::Result<String> {
        self.made.get_or_init(|| digest(&self.file).map(|(_, blake3)| blake3))
    }
}

/// The sidecar, or what it means that there is none.
fn sidecar(wasm: &Path) -> Result<Sidecar, Installed> {
    let (cwasm, path) = paths(wasm);
    let unusable = |error: &dyn Display| Installed::Stale(unread(&path, error));
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !cwasm.exists() => Err(Installed::No),
        Err(error) => Err(unusable(&error)),
    }
}

fn unread(path: &Path, error: &dyn Display) -> String {
    format!("{} cannot be read: {error}", name(path))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file's size and BLAKE3, without having all of it in memory: that would cost more than reading it.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}

/// The command that installs a plugin where it lies.
pub fn command(wasm: &Path) -> String {
    let directory = wasm.parent().unwrap_or(Path::new("."));
    let dir = if directory == Path::new(super::locate::DIRECTORY) {
        String::new()
    } else {
        format!(" --dir {}", directory.display())
    };
    format!("`dcd plugin install{dir} {}`", wasm.display())
}

impl Sidecar {
    /// Why it is not for this dcd.
    fn foreign(&self) -> Option<String> {
        let (version, native) = (compiler::VERSION, compiler::NATIVE);
        if self.dcd != version {
            Some(format!("it was compiled by dcd {}, and this is {version}", self.dcd))
        } else if self.target != native {
            Some(format!("it was compiled for {}, and this dcd is for {native}", self.target))
        } else {
            None
        }
    }
}

impl Installed {
    /// What the plugin says of its config, if that is known without asking it.
    pub(crate) fn schema(&self) -> Option<&Value> {
        match self {
            Installed::Fresh(native) => Some(&native.sidecar.config_schema),
            Installed::Elsewhere | Installed::No | Installed::Stale(_) => None,
        }
    }
}
