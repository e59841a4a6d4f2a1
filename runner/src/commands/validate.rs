//! `dcd validate`

use std::mem::ManuallyDrop;

use crate::{
    cli::ValidateArgs,
    commands::{
        load,
        output::{print, print_json},
    },
    error::{CommandError, Exit},
};

pub(super) fn validate(args: &ValidateArgs) -> Result<Exit, CommandError> {
    let workspace = load::workspace()?;
    let loaded = load::pipeline(&workspace, &args.file)?;
    // What they hold goes with the process, which ends here, and sooner than piece by piece.
    let plugins = ManuallyDrop::new(load::plugins(&workspace, &loaded)?);
    let pipeline = &loaded.pipeline;
    let names: Vec<_> = pipeline.steps.iter().map(|step| step.name.value.as_str()).collect();
    let includes = &loaded.definition.includes;
    if args.json {
        let includes: Vec<_> = includes.iter().map(|file| &file.path).collect();
        print_json(&serde_json::json!({
            "valid": true,
            "file": loaded.definition.path,
            "sha256": loaded.definition.sha256,
            "includes": includes,
            "pipeline": pipeline.name,
            "component": pipeline.component,
            "steps": names,
            "plugins": plugins.records,
        }))?;
        return Ok(Exit::Success);
    }
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    print(&format!(
        "{} is valid: {}, {}\n",
        loaded.definition.path,
        count(names.len(), "step"),
        count(plugins.records.len(), "plugin")
    ))?;
    Ok(Exit::Success)
}
