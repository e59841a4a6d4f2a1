//! What the image grants: the file `NAME.json` beside `NAME.wasm`, which is reviewed like any other. Reading it,
//! adding to it, and what it comes to together with what a pipeline grants.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{
    pipeline::{Allow, GrantsFile, Limits, PluginBlock, Span, Spanned, Wrong, parse_grants},
    plugin::{Grants, Manifest, PluginError, locate::Located, sidecar},
};

/// The image's grants of one plugin.
#[derive(Clone, Debug)]
pub struct ImageGrants {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub file: GrantsFile,
}

/// Where the grants of a plugin are.
pub fn path(wasm: &Path) -> PathBuf {
    wasm.with_extension("json")
}

/// Reads the grants beside a `.wasm` with this digest, if there are any.
pub fn read(wasm: &Path, sha256: &str) -> Result<Option<ImageGrants>, PluginError> {
    let Some(grants) = read_any(wasm)? else { return Ok(None) };
    match &grants.file.sha256 {
        Some(pin) if pin.value != sha256 => Err(mismatch(wasm, &grants.path, &pin.value, sha256)),
        _ => Ok(Some(grants)),
    }
}

/// [`read`], for whatever file they were made.
pub(crate) fn read_any(wasm: &Path) -> Result<Option<ImageGrants>, PluginError> {
    let path = path(wasm);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(PluginError::new(format!("cannot read {}: {error}", path.display()))
                .help("it is what the image grants the plugin: make it a readable file of JSON"));
        }
    };
    let file = parse_grants(&text, &path.display().to_string()).map_err(|wrong| said(&wrong))?;
    Ok(Some(ImageGrants { path, file }))
}

/// The grants were made for another file.
pub(crate) fn mismatch(wasm: &Path, path: &Path, pin: &str, sha256: &str) -> PluginError {
    PluginError::new(format!(
        "{} is for a plugin with the digest {pin}, and {} has {sha256}",
        path.display(),
        wasm.display()
    ))
    .help(format!(
        "find out why it changed, look at what it asks for (`dcd plugin inspect {}`), and accept it with {}",
        wasm.display(),
        sidecar::command(wasm).replace("install", "install --update")
    ))
}

/// The first thing that is wrong, with its place.
fn said(wrong: &Wrong) -> PluginError {
    let (Some(first), Some(source)) = (wrong.diagnostics.first(), wrong.sources.first()) else {
        return PluginError::new("the grants cannot be read");
    };
    let before = source.text.get(..first.span.start).unwrap_or_default();
    let line = before.split('\n').count();
    let column = before.split('\n').next_back().map_or(0, |line| line.chars().count()) + 1;
    let mut error = PluginError::new(format!("{}:{line}:{column}: {}", source.path, first.message));
    error.help.clone_from(&first.help);
    error
}

/// What may be granted in lists of texts, kind by kind.
fn lists(allow: &mut Allow) -> [(&'static str, &mut Vec<Spanned<String>>); 5] {
    [
        ("http", &mut allow.http),
        ("tcp", &mut allow.tcp),
        ("env", &mut allow.env),
        ("exec", &mut allow.exec),
        ("secrets", &mut allow.secrets),
    ]
}

/// What the image alone grants the plugin.
pub fn of_image(located: &Located, workspace: &Path) -> Grants {
    let (none, usual) = (Allow::default(), Limits::default());
    let file = located.image.as_ref().map(|image| &image.file);
    let (allow, limits) = file.map_or((&none, &usual), |file| (&file.allow, &file.limits));
    Grants::new(&located.manifest, allow, limits, workspace)
}

/// What a plugin is granted: by the image and by the pipeline together, or by the image alone if that says so.
/// `at` is the place in the pipeline that uses the plugin: what the image grants has none there.
pub fn effective(
    manifest: &Manifest,
    image: Option<&ImageGrants>,
    block: Option<&PluginBlock>,
    workspace: &Path,
    at: &Span,
) -> Result<Grants, PluginError> {
    let mut allow = image.map(|image| image.file.allow.clone()).unwrap_or_default();
    let mut limits = image.map(|image| image.file.limits.clone()).unwrap_or_default();
    allow.fs.iter_mut().for_each(|grant| grant.path.span = at.clone());
    for (_, list) in lists(&mut allow) {
        for grant in list {
            grant.span = at.clone();
        }
    }
    if let Some(block) = block {
        extend(&mut allow, block.allow.clone(), image.filter(|image| image.file.locked))?;
        bound(&mut limits, &block.limits, image)?;
    }
    Ok(Grants::new(manifest, &allow, &limits, workspace))
}

/// Adds what the pipeline grants. What stands in a pipeline is honoured or refused: a locked image refuses.
fn extend(all: &mut Allow, mut more: Allow, locked: Option<&ImageGrants>) -> Result<(), PluginError> {
    let refuse = |kind: &str, grant: &Spanned<String>| {
        match locked {
        None => Ok(()),
        Some(image) => Err(PluginError::new(format!(
            "the image does not grant the plugin `{kind}` {}, and its file {} is locked: no pipeline adds to it",
            grant.value,
            image.path.display()
        ))
        .help("remove it here, or have it added to the image's file")
        .at(grant.span.clone())),
    }
    };
    for grant in more.fs.drain(..) {
        match all.fs.iter_mut().find(|known| known.path.value == grant.path.value) {
            Some(known) if known.writable || !grant.writable => {}
            known => {
                refuse("fs", &grant.path)?;
                match known {
                    Some(known) => known.writable = true,
                    None => all.fs.push(grant),
                }
            }
        }
    }
    for ((kind, all), (_, more)) in lists(all).into_iter().zip(lists(&mut more)) {
        for grant in more.drain(..) {
            if !all.iter().any(|known| known.value == grant.value) {
                refuse(kind, &grant)?;
                all.push(grant);
            }
        }
    }
    Ok(())
}

/// Takes the pipeline's limits; those of the image are the most that there can be.
fn bound(limits: &mut Limits, wanted: &Limits, image: Option<&ImageGrants>) -> Result<(), PluginError> {
    fn one<T: PartialOrd + Clone>(
        name: &str,
        most: &mut Option<Spanned<T>>,
        wanted: Option<&Spanned<T>>,
        image: Option<&ImageGrants>,
    ) -> Result<(), PluginError> {
        let Some(wanted) = wanted else { return Ok(()) };
        if let (Some(most), Some(image)) = (most.as_ref(), image)
            && wanted.value > most.value
        {
            let file = image.path.display();
            return Err(PluginError::new(format!(
                "`{name}` is more than the image lets the plugin use: its file {file} has a lower limit"
            ))
            .help(format!("write what {file} says, or less; or have it raised there"))
            .at(wanted.span.clone()));
        }
        *most = Some(wanted.clone());
        Ok(())
    }
    one("memory", &mut limits.memory, wanted.memory.as_ref(), image)?;
    one("call_timeout", &mut limits.call_timeout, wanted.call_timeout.as_ref(), image)?;
    one("connections", &mut limits.connections, wanted.connections.as_ref(), image)?;
    one("http_body", &mut limits.http_body, wanted.http_body.as_ref(), image)
}

/// The file with more in it: `more` are kinds and values as they are typed, `http` and `https://x`.
pub(crate) fn add(mut json: Value, more: &[(String, String)], locked: bool) -> Result<Value, PluginError> {
    for (kind, value) in more {
        let entry = typed(kind, value);
        let alone = json!({ "allow": { kind: [entry] } });
        parse_grants(&alone.to_string(), &format!("--allow {kind}={value}")).map_err(|wrong| {
            let first = wrong.diagnostics.into_iter().next();
            let (message, help) = first.map_or((String::new(), None), |first| (first.message, first.help));
            PluginError { help, ..PluginError::new(format!("`{kind}={value}` cannot be granted: {message}")) }
        })?;
        let list = &mut json["allow"][kind.as_str()];
        let Value::Array(list) = list else {
            *list = json!([entry]);
            continue;
        };
        let path = |entry: &Value| entry.get("path").unwrap_or(entry).clone();
        if kind == "fs" {
            list.retain(|known| path(known) != path(&entry));
        }
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    if locked {
        json["locked"] = json!(true);
    }
    Ok(json)
}

/// What a typed value is in the file: `fs` takes `DIR`, `DIR:ro` or `DIR:rw`.
fn typed(kind: &str, value: &str) -> Value {
    if kind != "fs" {
        return json!(value);
    }
    match value.rsplit_once(':') {
        Some((path, access @ ("ro" | "rw"))) => json!({ "path": path, "access": access }),
        _ => json!({ "path": value, "access": "ro" }),
    }
}

/// A file that grants nothing yet, for the plugin with this digest.
pub(crate) fn empty(sha256: &str) -> Value {
    let mut json = Map::new();
    json.insert("sha256".to_owned(), json!(sha256));
    json.insert("allow".to_owned(), json!({}));
    Value::Object(json)
}

/// Reads what [`add`] made.
pub(crate) fn parse(json: &Value, wasm: &Path) -> Result<ImageGrants, PluginError> {
    let path = path(wasm);
    let file = parse_grants(&json.to_string(), &path.display().to_string()).map_err(|wrong| said(&wrong))?;
    Ok(ImageGrants { path, file })
}
