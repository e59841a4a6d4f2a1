//! `dcd plugin manifest`

use std::fs;

use serde_json::{Value, json};

use crate::{
    cli::ManifestArgs,
    commands::output::print,
    error::{CommandError, Exit},
    plugin::{API_VERSION, PluginError, add_manifest},
};

/// What a plugin can ask for.
const KINDS: [&str; 6] = ["http", "tcp", "env", "fs", "exec", "secrets"];

pub(super) fn manifest(args: &ManifestArgs) -> Result<Exit, CommandError> {
    let asks = args.asks.iter().map(|ask| asked(ask)).collect::<Result<Vec<_>, _>>()?;
    let manifest = json!({
        "api": API_VERSION,
        "kind": args.kind,
        "name": args.name,
        "version": args.version,
        "summary": args.summary,
        "asks": asks,
    });
    let file = args.file.display().to_string();
    let cannot = |what: &str, error: &std::io::Error| {
        CommandError::usage(format!("{file} cannot be {what}: {error}"), "name the component's .wasm file")
    };
    let bytes = fs::read(&args.file).map_err(|error| cannot("read", &error))?;
    let with = add_manifest(&bytes, &manifest.to_string(), &file).map_err(refused)?;
    // A file that is half written is never there under its name.
    let new = args.file.with_extension("wasm.new");
    fs::write(&new, with).and_then(|()| fs::rename(&new, &args.file)).map_err(|error| {
        let _ = fs::remove_file(&new);
        cannot("written", &error)
    })?;
    print(&format!(
        "{file} is now plugin {} {}. See it: dcd plugin inspect {file}\n",
        args.name, args.version
    ))?;
    Ok(Exit::Success)
}

fn asked(ask: &str) -> Result<Value, CommandError> {
    match ask.split_once('=') {
        Some((kind, reason)) if KINDS.contains(&kind) && !reason.is_empty() => {
            Ok(json!({ "kind": kind, "reason": reason }))
        }
        _ => Err(CommandError::usage(
            format!("{ask:?} is nothing that a plugin can ask for"),
            format!(
                "write the kind and the reason, such as http=\"to send the request\"; the kinds are {}",
                KINDS.join(", ")
            ),
        )),
    }
}

fn refused(error: PluginError) -> CommandError {
    let mut shown = CommandError::usage(error.message, "");
    shown.help = error.help;
    shown
}
