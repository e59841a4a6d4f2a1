//! What lies beside a plugin that is installed: `NAME.cwasm`, compiled ahead of time, and its sidecar
//! `NAME.cwasm.json`, which says from what and for whom, and what a start would else have to find out.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    plugin::{Manifest, PluginError, compiler},
    text::hex,
};

/// `NAME.cwasm.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sidecar {
    /// Of `NAME.wasm`.
    pub(crate) source_sha256: String,
    /// Of `NAME.cwasm`.
    pub(crate) cwasm_sha256: String,
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
    /// What this dcd can load.
    Fresh { sidecar: Box<Sidecar>, native: PathBuf, size: u64 },
    /// What this dcd cannot load, and why.
    Stale(String),
}

/// Where the compiled form and its sidecar are.
pub(crate) fn paths(wasm: &Path) -> (PathBuf, PathBuf) {
    (wasm.with_extension("cwasm"), wasm.with_extension("cwasm.json"))
}

/// Looks at a `.wasm` and at what is beside it; gives its size and digest, too. A `.cwasm` that is not the one that was
/// installed is an error, not a reason to compile anew: somebody changed it.
pub(crate) fn read(
    wasm: &Path,
    unreadable: &dyn Fn(io::Error) -> PluginError,
) -> Result<(u64, String, Installed), PluginError> {
    let (cwasm, _) = paths(wasm);
    // Most of the time of a start is the digests: they are made at the same time.
    let (source, native, sidecar) = std::thread::scope(|scope| {
        let native = cwasm.exists().then(|| scope.spawn(|| digest(&cwasm)));
        let (source, sidecar) = (digest(wasm), sidecar(wasm));
        let native = native.map_or(Err(io::ErrorKind::NotFound.into()), |thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("its digest could not be made")))
        });
        (source, native, sidecar)
    });
    let (size, sha256) = source.map_err(unreadable)?;
    let installed = match sidecar {
        Err(installed) => installed,
        Ok(sidecar) => match (sidecar.mismatch(&name(wasm), &sha256), native) {
            (Some(why), _) => Installed::Stale(why),
            (None, Err(error)) => Installed::Stale(format!("{} cannot be read: {error}", name(&cwasm))),
            (None, Ok((_, digest))) if digest != sidecar.cwasm_sha256 => {
                return Err(PluginError::new(format!(
                    "{} is not the file that was installed: it has the digest {digest}, its sidecar says {}",
                    cwasm.display(),
                    sidecar.cwasm_sha256
                ))
                .help(format!("find out who changed it; {} writes it again", command(wasm))));
            }
            (None, Ok((size, _))) => Installed::Fresh { sidecar: Box::new(sidecar), native: cwasm, size },
        },
    };
    Ok((size, sha256, installed))
}

/// The sidecar, or what it means that there is none.
fn sidecar(wasm: &Path) -> Result<Sidecar, Installed> {
    let (cwasm, path) = paths(wasm);
    let unusable = |error: &dyn Display| Installed::Stale(format!("{} cannot be read: {error}", name(&path)));
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !cwasm.exists() => Err(Installed::No),
        Err(error) => Err(unusable(&error)),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file's size and SHA-256, without having all of it in memory: that would cost more than reading it.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut buffer = [0; 16 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hex(&sha256.finalize()))),
            read => {
                sha256.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
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
    /// Why it is not for this dcd and this file.
    fn mismatch(&self, wasm: &str, sha256: &str) -> Option<String> {
        let (version, native) = (compiler::VERSION, compiler::NATIVE);
        if self.dcd != version {
            Some(format!("it was compiled by dcd {}, and this is {version}", self.dcd))
        } else if self.target != native {
            Some(format!("it was compiled for {}, and this dcd is for {native}", self.target))
        } else if self.source_sha256 != sha256 {
            Some(format!("{wasm} is not the file that it was compiled from"))
        } else {
            None
        }
    }
}

impl Installed {
    /// What the plugin says of its config, if that is known without asking it.
    pub(crate) fn schema(&self) -> Option<&Value> {
        match self {
            Installed::Fresh { sidecar, .. } => Some(&sidecar.config_schema),
            Installed::Elsewhere | Installed::No | Installed::Stale(_) => None,
        }
    }
}
