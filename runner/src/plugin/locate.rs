//! Finding plugins: in the plugin directory, in `DCD_PLUGIN_PATH`, or where the pipeline file says.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    pipeline::{PluginBlock, Span},
    plugin::{
        PluginError,
        grants_file::{self, ImageGrants},
        manifest,
        manifest::Manifest,
        sidecar::{self, Installed},
    },
    text::hex,
};

/// Where an image keeps its plugins.
pub const DIRECTORY: &str = "/dcd-plugins";
/// More directories, separated by colons, looked at first.
pub(crate) const PATH_VARIABLE: &str = "DCD_PLUGIN_PATH";

/// A plugin's file, read and identified.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Of the bytes, in lower-case hex. That of an installed one is what was found at its installation; that the file is the
    /// same by now is found by another digest.
    pub sha256: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The interfaces that it imports: all it could ever do.
    pub imports: Vec<String>,
    /// What the image's file beside it grants.
    pub image: Option<ImageGrants>,
    /// Its compiled form.
    pub(crate) installed: Installed,
}

/// Whether a plugin is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its compiled form is loaded.
    Fresh,
    /// Its compiled form is for another dcd, another architecture or another file.
    Stale,
    /// It has none.
    Absent,
}

impl Located {
    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, PluginError> {
        let bytes = fs::read(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        if hex(&Sha256::digest(&bytes)) == self.sha256 {
            return Ok(bytes);
        }
        Err(PluginError::new(format!("{} was changed while it was looked at", self.path.display()))
            .help("start again"))
    }

    /// Its digest, of the file itself: the sidecar of an installed one only says it.
    fn own_sha256(&self) -> Result<String, PluginError> {
        if !matches!(self.installed, Installed::Fresh(_)) {
            return Ok(self.sha256.clone());
        }
        let bytes = fs::read(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        Ok(hex(&Sha256::digest(&bytes)))
    }

    /// The same once its compiled form is known to be the one that was installed, or to be of no use. Who loads it looks
    /// himself.
    pub fn verified(mut self) -> Result<Self, PluginError> {
        if let Installed::Fresh(native) = &self.installed
            && let Err(why) = native.verified(&self.path)?
        {
            self.installed = Installed::Stale(why);
        }
        Ok(self)
    }

    /// Whether it is installed.
    pub fn state(&self) -> State {
        match self.installed {
            Installed::Fresh(_) => State::Fresh,
            Installed::Stale(_) => State::Stale,
            Installed::Elsewhere | Installed::No => State::Absent,
        }
    }

    /// In a sentence: what of it is compiled, and how to mend that.
    pub fn compiled(&self) -> String {
        let command = sidecar::command(&self.path);
        match &self.installed {
            Installed::Fresh(native) => {
                format!("yes, {} bytes compiled for {}", native.size, native.sidecar.target)
            }
            Installed::Stale(why) => format!("stale: {why}; {command} mends that"),
            Installed::No => format!("no: it is compiled at each start; {command} does it once"),
            Installed::Elsewhere => "no: it is in no plugin directory, and compiled at each start".to_owned(),
        }
    }

    /// The schema of its config, as far as that is known without running it.
    pub fn config_schema(&self) -> Option<&Value> {
        self.installed.schema()
    }
}

/// Reads one plugin file, wherever it is, and nothing that lies beside it.
pub fn read(path: &Path) -> Result<Located, PluginError> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let contents = manifest::read(&bytes, &path.display().to_string())?;
    let sha256 = hex(&Sha256::digest(&bytes));
    Ok(Located {
        path: path.to_owned(),
        size: bytes.len() as u64,
        sha256,
        manifest: contents.manifest,
        imports: contents.imports,
        image: None,
        installed: Installed::Elsewhere,
    })
}

/// Reads a plugin of a plugin directory, with what lies beside it, whose digest is not known yet.
fn read_installed(path: &Path) -> Result<Located, PluginError> {
    let installed = sidecar::read(path, &|error| unreadable(path, &error))?;
    // What was read at the installation is not read again.
    let mut located = match &installed {
        Installed::Fresh(native) => Located {
            path: path.to_owned(),
            size: native.source_size,
            sha256: native.sidecar.source_sha256.clone(),
            manifest: native.sidecar.manifest.clone(),
            imports: native.sidecar.imports.clone(),
            image: None,
            installed: Installed::No,
        },
        Installed::Elsewhere | Installed::No | Installed::Stale(_) => read(path)?,
    };
    located.installed = installed;
    located.image = grants_file::read(path, &located.sha256)?;
    Ok(located)
}

fn unreadable(path: &Path, error: &io::Error) -> PluginError {
    let file = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => PluginError::new(format!("there is no file {file}"))
            .help("check the path; a relative one starts at the workspace"),
        io::ErrorKind::IsADirectory => {
            PluginError::new(format!("{file} is a directory")).help("name the plugin's .wasm file in it")
        }
        _ => {
            PluginError::new(format!("cannot read the plugin {file}: {error}")).help("check its permissions")
        }
    }
}

/// Knows where to look.
#[derive(Clone, Debug)]
pub struct Locator<'a> {
    workspace: &'a Path,
    blocks: &'a BTreeMap<String, PluginBlock>,
    directories: Vec<PathBuf>,
    /// Those of them whose compiled plugins and grants count: the image's, never the workspace's.
    trusted: Vec<PathBuf>,
}

impl<'a> Locator<'a> {
    /// Looks where the environment and the pipeline say.
    pub fn new(workspace: &'a Path, blocks: &'a BTreeMap<String, PluginBlock>) -> Self {
        let variable = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
        let mut directories: Vec<PathBuf> =
            std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty()).collect();
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let outside = |path: &&PathBuf| !real(path).starts_with(real(workspace));
        let mut trusted: Vec<_> = directories.iter().filter(outside).cloned().collect();
        trusted.push(DIRECTORY.into());
        directories.push(DIRECTORY.into());
        Locator { workspace, blocks, directories, trusted }
    }

    /// Looks in one directory only.
    pub fn in_directory(directory: &Path, blocks: &'a BTreeMap<String, PluginBlock>) -> Self {
        let directories = vec![directory.to_owned()];
        Locator { workspace: Path::new("/"), blocks, trusted: directories.clone(), directories }
    }

    /// Reads a plugin's file; what lies beside it only in a plugin directory that is not the workspace's.
    pub fn read(&self, path: &Path) -> Result<Located, PluginError> {
        self.look(path).and_then(Located::verified)
    }

    fn look(&self, path: &Path) -> Result<Located, PluginError> {
        let is_installed = path.parent().is_some_and(|parent| self.trusted.iter().any(|dir| dir == parent));
        if is_installed { read_installed(path) } else { read(path) }
    }

    /// The plugin that a pipeline calls `name`, to be loaded or [verified](Located::verified); `span` is where it does.
    pub fn find(&self, name: &str, span: &Span) -> Result<Located, PluginError> {
        let block = self.blocks.get(name);
        let located = match block.and_then(|block| block.path.as_ref()) {
            Some(path) => {
                self.look(&self.workspace.join(&path.value)).map_err(|error| error.at(path.span.clone()))?
            }
            None => self.search(name, span)?,
        };
        if located.manifest.name != name {
            let message =
                format!("{} is the plugin `{}`, not `{name}`", located.path.display(), located.manifest.name);
            return Err(PluginError::new(message)
                .help(format!("use it by its own name: `{}`", located.manifest.name))
                .at(span.clone()));
        }
        let Some(pin) = block.and_then(|block| block.sha256.as_ref()) else { return Ok(located) };
        let sha256 = located.own_sha256()?;
        if pin.value == sha256 {
            return Ok(located);
        }
        Err(PluginError::new(format!(
            "{} is not the file that `sha256` pins: it has the digest {sha256}",
            located.path.display(),
        ))
        .help("if the new file is meant, write its digest here; if not, find out who changed it")
        .at(pin.span.clone()))
    }

    /// Every plugin file that can be found, or what is wrong with it.
    pub fn all(&self) -> Vec<(PathBuf, Result<Located, PluginError>)> {
        let named = self.blocks.values().filter_map(|block| block.path.as_ref());
        let mut paths: Vec<PathBuf> = named.map(|path| self.workspace.join(&path.value)).collect();
        for directory in &self.directories {
            paths.extend(files(directory));
        }
        // One file, by whatever way it is found.
        let mut seen = HashSet::new();
        paths.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
        paths.into_iter().map(|path| (path.clone(), self.read(&path))).collect()
    }

    fn search(&self, name: &str, span: &Span) -> Result<Located, PluginError> {
        let is_likely = |path: &PathBuf| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            stem.replace('_', "-") == name.replace('_', "-")
        };
        let mut others = Vec::new();
        let likely_first = |directory: &PathBuf| {
            let (mut files, rest): (Vec<_>, Vec<_>) = files(directory).into_iter().partition(is_likely);
            files.extend(rest);
            files
        };
        for path in self.directories.iter().flat_map(likely_first) {
            let likely = is_likely(&path);
            match self.look(&path) {
                Ok(located) if located.manifest.name == name => return Ok(located),
                Ok(located) => others.push(located.manifest.name),
                // A broken file stands in the way only of who wants it.
                Err(error) if likely => return Err(error.at(span.clone())),
                Err(_) => {}
            }
        }
        Err(self.missing(name, &others).at(span.clone()))
    }

    fn missing(&self, name: &str, others: &[String]) -> PluginError {
        let places: Vec<_> = self.directories.iter().map(|path| path.display().to_string()).collect();
        let error = PluginError::new(format!("there is no plugin `{name}` in {}", places.join(" or ")));
        let close = others
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
        match close {
            Some(other) if strsim::jaro_winkler(name, other) > 0.8 => {
                error.help(format!("did you mean `{other}`?"))
            }
            _ => error.help(format!(
                "add it to the image (`COPY {name}.wasm {DIRECTORY}/`), or say where it is: \
                 \"plugins\": {{\"{name}\": {{\"path\": \"….wasm\"}}}}"
            )),
        }
    }
}

/// The `.wasm` files of a directory, by name. A directory that is not there has none.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    paths
}
