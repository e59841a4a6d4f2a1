//! `dcd plugin install`: checks a plugin, puts it into the plugin directory with what the image grants it, and compiles
//! it ahead of time. All is checked and compiled before anything is written.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    pipeline::{Allow, Limits},
    plugin::{
        Grants, Host, Manifest, PluginError, compiler, describe,
        engine::Compiled,
        grants_file::{self, ImageGrants},
        locate::{self, Located},
        sidecar::{self, Sidecar},
    },
};

/// How plugins are installed.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The plugin directory.
    pub directory: &'a Path,
    /// The triple to compile for, one of [`compiler::target`].
    pub target: &'a str,
    /// Grants only what the image's file does.
    pub locked: bool,
    /// Accepts a file that the grants were not made for.
    pub update: bool,
}

/// A plugin that can be installed: checked and compiled, and nothing of it written.
pub struct Ready {
    /// The plugin's file, where it is read from.
    pub located: Located,
    /// Where it will be.
    pub wasm: PathBuf,
    /// What the image grants it.
    pub grants: ImageGrants,
    /// What it asks for and the image grants nothing of, kind by kind with the reason.
    pub lacking: Vec<(String, String)>,
    /// The size of the compiled form.
    pub compiled_size: usize,
    /// Whether the grants have to be written: they are new, or there is more in them.
    grants_change: Option<Value>,
    native: Vec<u8>,
    sidecar: Sidecar,
}

/// Checks and compiles a plugin. `allow` is granted beside what its file in the plugin directory grants already.
pub fn prepare(
    host: &Host,
    located: Located,
    allow: &[(String, String)],
    options: &Options<'_>,
) -> Result<Ready, PluginError> {
    refuse_unasked(&located)?;
    let wasm = destination(&located, options.directory);
    let (grants, grants_change) = grants(&located, &wasm, allow, options)?;
    let lacking = lacking(&located.manifest, &grants.file.allow);
    // Some of what a plugin asks for may be for what this team never does with it; all of it is not.
    if grants.file.locked && !lacking.is_empty() && lacking.len() == located.manifest.asks.len() {
        return Err(locked_without(&located, &lacking, options));
    }
    // Compiled for here, too, when it is for elsewhere: it says of its config what only it knows.
    let (compiled, schema) = describe::load(host, &located, Grants::default())?;
    let native = if options.target == compiler::NATIVE {
        serialize(&located, &compiled)?
    } else {
        precompile(&located, options.target)?
    };
    let config_schema = schema.into_json();
    let sidecar = sidecar_of(&located, &native, options.target, config_schema)?;
    Ok(Ready { located, wasm, grants, lacking, compiled_size: native.len(), grants_change, native, sidecar })
}

fn sidecar_of(
    located: &Located,
    native: &[u8],
    target: &str,
    config_schema: Value,
) -> Result<Sidecar, PluginError> {
    let blake3 = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    Ok(Sidecar {
        source_sha256: located.sha256.clone(),
        source_blake3: blake3(&located.bytes()?),
        cwasm_blake3: blake3(native),
        dcd: compiler::VERSION.to_owned(),
        target: target.to_owned(),
        manifest: located.manifest.clone(),
        imports: located.imports.clone(),
        config_schema,
    })
}

/// Writes a plugin that is compiled already into a directory that has no other of its name, and grants it nothing there.
/// The answer is where it is.
pub(crate) fn save(located: &Located, compiled: &Compiled, directory: &Path) -> Result<PathBuf, PluginError> {
    let native = serialize(located, compiled)?;
    let config_schema = describe::schema(located, compiled)?.into_json();
    let sidecar = sidecar_of(located, &native, compiler::NATIVE, config_schema)?;
    let wasm = directory.join(format!("{}.wasm", located.manifest.name));
    let (cwasm, sidecar_path) = sidecar::paths(&wasm);
    put(&wasm, &located.bytes()?)?;
    put(&cwasm, &native)?;
    put(&sidecar_path, serde_json::to_value(&sidecar).unwrap_or_default().to_string().as_bytes())?;
    Ok(wasm)
}

/// What the plugin was compiled to for here.
fn serialize(located: &Located, compiled: &Compiled) -> Result<Vec<u8>, PluginError> {
    compiled.pre.component().serialize().map_err(|error| {
        let name = &located.manifest.name;
        PluginError::new(format!("what plugin {name} was compiled to cannot be kept: {}", error.root_cause()))
    })
}

fn precompile(located: &Located, target: &str) -> Result<Vec<u8>, PluginError> {
    let (engine, bytes) = (compiler::engine(target), located.bytes()?);
    engine.and_then(|engine| engine.precompile_component(&bytes)).map_err(|error| {
        let name = &located.manifest.name;
        PluginError::new(format!("plugin {name} cannot be compiled for {target}: {}", error.root_cause()))
            .help(format!("{} is damaged or needs a newer dcd; build it again", located.path.display()))
    })
}

/// An import that a plugin has only if it uses it, and what it has to be granted for that. The others say nothing:
/// standard libraries bring `wasi:filesystem` and `wasi:sockets` along, and what is built from Python imports all of its
/// world. There the manifest alone says what is wanted, and the host denies the rest.
const TELLING: (&str, &str) = ("wasi:http/outgoing-handler", "http");

/// Refuses what no grant could ever cover: a right that is used, and not asked for.
fn refuse_unasked(located: &Located) -> Result<(), PluginError> {
    let (interface, kind) = TELLING;
    let manifest = &located.manifest;
    let import = located.imports.iter().find(|import| import.split('@').next() == Some(interface));
    match import {
        Some(import) if !manifest.asks.iter().any(|ask| ask.kind == kind) => Err(PluginError::new(format!(
            "plugin {} imports {import}, but does not ask for `{kind}` in its manifest: no grant can allow it",
            manifest.name
        ))
        .help("its author has to declare what it needs, or to leave the import out")),
        Some(_) | None => Ok(()),
    }
}

/// Where the plugin will be: where it is, if that is in the directory; else in the place of the file that has its
/// name there.
fn destination(located: &Located, directory: &Path) -> PathBuf {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let is_there = real(&located.path).is_some_and(|path| path.parent() == real(directory).as_deref());
    if let Some(file) = located.path.file_name().filter(|_| is_there) {
        return directory.join(file);
    }
    let has_name =
        |path: &PathBuf| locate::read(path).is_ok_and(|other| other.manifest.name == located.manifest.name);
    let same = locate::files(directory).into_iter().find(has_name);
    same.unwrap_or_else(|| directory.join(format!("{}.wasm", located.manifest.name)))
}

/// The image's grants with `allow` added, and what is to be written, if that is new.
fn grants(
    located: &Located,
    wasm: &Path,
    allow: &[(String, String)],
    options: &Options<'_>,
) -> Result<(ImageGrants, Option<Value>), PluginError> {
    let manifest = &located.manifest;
    for (kind, value) in allow {
        if !manifest.asks.iter().any(|ask| ask.kind == *kind) {
            let asked: Vec<_> = manifest.asks.iter().map(|ask| format!("`{}`", ask.kind)).collect();
            let asked = if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") };
            return Err(PluginError::new(format!(
                "plugin {} does not ask for `{kind}`: `{kind}={value}` would grant it nothing",
                manifest.name
            ))
            .help(format!("it asks for {asked}")));
        }
    }
    let known = grants_file::read_any(wasm)?;
    let mut json =
        known.as_ref().map_or_else(|| grants_file::empty(&located.sha256), |known| known.file.json.clone());
    if let Some((known, pin)) = known.as_ref().and_then(|known| Some((known, known.file.sha256.as_ref()?)))
        && pin.value != located.sha256
    {
        if !options.update {
            let pin = &pin.value;
            return Err(grants_file::mismatch(&located.path, &known.path, pin, &located.sha256));
        }
        json["sha256"] = located.sha256.as_str().into();
    }
    let json = grants_file::add(json, allow, options.locked)?;
    let grants = grants_file::parse(&json, wasm)?;
    let is_new = known.is_none_or(|known| known.file.json != json);
    Ok((grants, is_new.then_some(json)))
}

/// What is asked for, and granted nothing of.
pub fn lacking(manifest: &Manifest, allow: &Allow) -> Vec<(String, String)> {
    let granted = Grants::new(manifest, allow, &Limits::default(), Path::new("/")).describe();
    let lacking = manifest.asks.iter().filter(|ask| !granted.contains_key(&ask.kind));
    lacking.map(|ask| (ask.kind.clone(), ask.reason.clone())).collect()
}

/// The options that would grant what is lacking.
pub fn options_for(lacking: &[(String, String)]) -> String {
    let example = |kind: &str| match kind {
        "http" => "https://HOST",
        "tcp" => "HOST:PORT",
        "exec" => "PROGRAM",
        "fs" => "DIR:rw",
        _ => "NAME",
    };
    let option = |(kind, _): &(String, String)| format!("--allow {kind}={}", example(kind));
    lacking.iter().map(option).collect::<Vec<_>>().join(" ")
}

fn locked_without(located: &Located, lacking: &[(String, String)], options: &Options<'_>) -> PluginError {
    let kinds: Vec<_> = lacking.iter().map(|(kind, reason)| format!("`{kind}` ({reason})")).collect();
    let directory = if options.directory == Path::new(locate::DIRECTORY) {
        String::new()
    } else {
        format!("--dir {} ", options.directory.display())
    };
    PluginError::new(format!(
        "plugin {} asks for {} and is granted nothing, and as it is locked no pipeline can grant it",
        located.manifest.name,
        kinds.join(", ")
    ))
    .help(format!(
        "grant it here what it needs: `dcd plugin install --locked {} {directory}{}`",
        options_for(lacking),
        located.path.display()
    ))
}

impl Ready {
    /// No pipeline grants it more.
    pub fn is_locked(&self) -> bool {
        self.grants.file.locked
    }

    /// The triple that it was compiled for.
    pub fn target(&self) -> &str {
        &self.sidecar.target
    }

    /// Writes it: the plugin, its grants, its compiled form, and last the sidecar that makes that one count.
    pub fn write(&self) -> Result<(), PluginError> {
        let (cwasm, sidecar) = sidecar::paths(&self.wasm);
        let text = |json: &Value| format!("{json:#}\n");
        // Whatever happens from here on, an old sidecar does not stand beside a new file.
        match fs::remove_file(&sidecar) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritten(&sidecar, &error)),
            Ok(()) | Err(_) => {}
        }
        if fs::canonicalize(&self.wasm).ok() != fs::canonicalize(&self.located.path).ok() {
            put(&self.wasm, &self.located.bytes()?)?;
        }
        if let Some(grants) = &self.grants_change {
            put(&grants_file::path(&self.wasm), text(grants).as_bytes())?;
        }
        put(&cwasm, &self.native)?;
        let json = serde_json::to_value(&self.sidecar).unwrap_or_default();
        // Read at each start, and by nobody else: without spaces.
        put(&sidecar, json.to_string().as_bytes())
    }
}

/// Adds to the grants of an installed plugin; gives back what they are then.
pub fn allow(located: &Located, allow: &[(String, String)]) -> Result<ImageGrants, PluginError> {
    let options = Options { directory: Path::new(""), target: "", locked: false, update: false };
    let (granted, change) = grants(located, &located.path, allow, &options)?;
    if let Some(json) = change {
        put(&granted.path, format!("{json:#}\n").as_bytes())?;
    }
    Ok(granted)
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    let fail = |error: &io::Error| unwritten(path, error);
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|error| fail(&error))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        // Whoever runs in the image reads it, whatever the umask of who builds it.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fail(&error)
    })
}

fn unwritten(path: &Path, error: &io::Error) -> PluginError {
    PluginError::new(format!("cannot write {}: {error}", path.display())).help(
        "plugins are installed when the image is built, as a user who may write there; or choose with --dir",
    )
}
