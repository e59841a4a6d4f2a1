//! `dcd plugin install`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::wrong;
use crate::{
    cli::{GrantArg, InstallArgs},
    commands::{
        load,
        output::{print, print_json, warn},
    },
    error::{CommandError, Exit},
    plugin::{
        Host, NATIVE, PluginError,
        install::{self, Options, Ready, options_for},
        locate::{self, Located},
        target,
    },
    text::harmless_line,
};

pub(super) fn install(args: &InstallArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let target = args.target.as_deref().map_or(Ok(NATIVE), target).map_err(|help| {
        CommandError::usage(
            format!("cannot compile for {}", args.target.as_deref().unwrap_or_default()),
            help,
        )
    })?;
    let directory = workspace.join(&args.dir);
    let directory = directory.canonicalize().unwrap_or(directory);
    let files = files(args, &workspace, &directory)?;
    let located: Result<Vec<_>, _> = files.iter().map(|file| locate::read(file)).collect();
    let located = located.map_err(wrong)?;
    check_names(&located, &args.allow)?;
    let host = Host::new().map_err(wrong)?;
    let options = Options { directory: &directory, target, locked: args.locked, update: args.update };
    let prepare = |located: Located| {
        let for_it =
            |grant: &&GrantArg| grant.plugin.as_ref().is_none_or(|plugin| *plugin == located.manifest.name);
        let allow = args.allow.iter().filter(for_it);
        let allow: Vec<_> = allow.map(|grant| (grant.kind.clone(), grant.value.clone())).collect();
        install::prepare(&host, located, &allow, &options)
    };
    // All are checked before the first is written, and what is wrong with each is said at once.
    let (ready, refused): (Vec<_>, Vec<_>) = located.into_iter().map(prepare).partition(Result::is_ok);
    let refused: Vec<_> = refused.into_iter().filter_map(Result::err).collect();
    if !refused.is_empty() {
        return Err(all(refused));
    }
    let ready: Vec<_> = ready.into_iter().flatten().collect();
    for plugin in &ready {
        plugin
            .write()
            .map_err(|error| CommandError { help: error.help, ..CommandError::environment(error.message) })?;
    }
    tell(&ready, args.json)
}

/// The files that are to be installed, each once.
fn files(args: &InstallArgs, workspace: &Path, directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let mut files: Vec<_> = args.files.iter().map(|file| workspace.join(file)).collect();
    if args.all {
        let known: Vec<_> = files.iter().filter_map(|file| file.canonicalize().ok()).collect();
        let found = locate::files(directory);
        if found.is_empty() && files.is_empty() {
            return Err(CommandError::usage(
                format!("there is no .wasm file in {}", directory.display()),
                "copy the plugins there first, or name the directory with --dir",
            ));
        }
        files.extend(
            found.into_iter().filter(|file| !file.canonicalize().is_ok_and(|file| known.contains(&file))),
        );
    }
    Ok(files)
}

/// A grant is for one plugin, and each plugin's name is given once.
fn check_names(located: &[Located], allow: &[GrantArg]) -> Result<(), CommandError> {
    let names: Vec<_> = located.iter().map(|located| located.manifest.name.as_str()).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(CommandError::usage(
                format!("there are two files of the plugin {name}: {}", places(located, name)),
                "remove one of them: a pipeline uses a plugin by its name",
            ));
        }
    }
    for grant in allow {
        let GrantArg { plugin, kind, value } = grant;
        match plugin {
            None if names.len() > 1 => {
                return Err(CommandError::usage(
                    format!("--allow {kind}={value} does not say which of the plugins it is for"),
                    format!("write --allow PLUGIN:{kind}={value}; the plugins are {}", names.join(", ")),
                ));
            }
            Some(plugin) if !names.contains(&plugin.as_str()) => {
                return Err(CommandError::usage(
                    format!("--allow {plugin}:{kind}={value} is for a plugin that is not installed here"),
                    format!("the plugins are {}", names.join(", ")),
                ));
            }
            None | Some(_) => {}
        }
    }
    Ok(())
}

fn places(located: &[Located], name: &str) -> String {
    let files = located.iter().filter(|located| located.manifest.name == name);
    files.map(|located| located.path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// One error of them all.
fn all(mut refused: Vec<PluginError>) -> CommandError {
    if refused.len() == 1 {
        return wrong(refused.remove(0));
    }
    let said = refused.iter().map(|error| {
        let help = error.help.as_ref().map_or_else(String::new, |help| format!("\n    {help}"));
        format!("\n  {}{help}", error.message)
    });
    CommandError {
        help: None,
        ..CommandError::usage(format!("nothing was installed:{}", said.collect::<String>()), "")
    }
}

fn tell(ready: &[Ready], json: bool) -> Result<Exit, CommandError> {
    if json {
        print_json(&ready.iter().map(row).collect::<Value>())?;
        return Ok(Exit::Success);
    }
    for plugin in ready {
        let manifest = &plugin.located.manifest;
        let (path, target) = (plugin.wasm.display(), plugin.target());
        let line =
            format!("installed {} {} as {path}, compiled for {target}", manifest.name, manifest.version);
        print(&format!("{}\n", harmless_line(&line)))?;
        if !plugin.lacking.is_empty() {
            let asked: Vec<_> =
                plugin.lacking.iter().map(|(kind, reason)| format!("`{kind}` ({reason})")).collect();
            warn(&harmless_line(&format!(
                "{} asks for {}, and this image grants none: {}install it with {}",
                manifest.name,
                asked.join(", "),
                if plugin.is_locked() {
                    "locked, it does without; or "
                } else {
                    "each pipeline has to, in its `plugins` block; or "
                },
                options_for(&plugin.lacking)
            )));
        }
    }
    Ok(Exit::Success)
}

fn row(plugin: &Ready) -> Value {
    let manifest = &plugin.located.manifest;
    let lacking: Vec<_> = plugin.lacking.iter().map(|(kind, _)| kind).collect();
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "kind": manifest.kind,
        "path": plugin.wasm,
        "sha256": plugin.located.sha256,
        "target": plugin.target(),
        "compiled_size": plugin.compiled_size,
        "grants": plugin.grants.path,
        "allow": plugin.grants.file.json["allow"],
        "locked": plugin.grants.file.locked,
        "lacking": lacking,
    })
}
