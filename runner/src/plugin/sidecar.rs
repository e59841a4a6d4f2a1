//! What lies beside a plugin that is installed: `NAME.cwasm`, compiled ahead of time, and its sidecar
//! `NAME.cwasm.json`, which says from what and for whom, and what a start would else have to find out.

use std::{
    fs, io,
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
    Fresh { sidecar: Box<Sidecar>, native: Vec<u8> },
    /// What this dcd cannot load, and why.
    Stale(String),
}

/// Where the compiled form and its sidecar are.
pub(crate) fn paths(wasm: &Path) -> (PathBuf, PathBuf) {
    (wasm.with_extension("cwasm"), wasm.with_extension("cwasm.json"))
}

/// Looks at what is beside a `.wasm` with this digest. A `.cwasm` that is not the one that was installed is an error,
/// not a reason to compile anew: somebody changed it.
pub(crate) fn read(wasm: &Path, sha256: &str) -> Result<Installed, PluginError> {
    let (cwasm, path) = paths(wasm);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !cwasm.exists() => return Ok(Installed::No),
        Err(error) => return stale(format!("{} cannot be read: {error}", name(&path))),
    };
    let sidecar: Sidecar = match serde_json::from_slice(&text) {
        Ok(sidecar) => sidecar,
        Err(error) => return stale(format!("{} cannot be read: {error}", name(&path))),
    };
    if let Some(why) = sidecar.mismatch(&name(wasm), sha256) {
        return stale(why);
    }
    let native = match fs::read(&cwasm) {
        Ok(native) => native,
        Err(error) => return stale(format!("{} cannot be read: {error}", name(&cwasm))),
    };
    let digest = hex(&Sha256::digest(&native));
    if digest != sidecar.cwasm_sha256 {
        return Err(PluginError::new(format!(
            "{} is not the file that was installed: it has the digest {digest}, its sidecar says {}",
            cwasm.display(),
            sidecar.cwasm_sha256
        ))
        .help(format!("find out who changed it; {} writes it again", command(wasm))));
    }
    Ok(Installed::Fresh { sidecar: Box::new(sidecar), native })
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

fn stale(why: String) -> Result<Installed, PluginError> {
    Ok(Installed::Stale(why))
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
