//! A step type that renders templates to files, by minijinja.
//!
//! ```json
//! { "uses": "template", "with": { "files": [{ "src": "deploy/*.yaml.j2", "dest": "out" }], "vars": { "tag": "1.4" } } }
//! ```
//!
//! A template reads `vars` and nothing else: no environment, no time, no random numbers. So the same templates
//! and values always give the same files.

mod config;
mod plan;

use std::fs;
use std::path::Path;

use dcd_plugin_sdk::{Diagnostic, Error, Fault, Help as _, StepContext, StepError, StepOutput, StepType};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

pub use config::{Config, File};
use plan::Pair;
pub use plan::Plan;

/// The step type.
#[derive(Debug)]
pub struct Template;

impl StepType for Template {
    const SUMMARY: &'static str = "Render templates to files";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        Plan::new(config).err().unwrap_or_default()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let plan = Plan::new(&config).map_err(Error::InvalidConfig)?;
        let workspace = Path::new(&cx.workspace);
        let environment = environment(&config, workspace)?;
        // All of them before the first is written: a template that is wrong leaves nothing half done.
        let mut rendered = Vec::new();
        for pair in plan.pairs(workspace)? {
            let text = render(&environment, &pair.src, &config)?;
            rendered.push((pair, text));
        }
        let mut changed = 0;
        for (Pair { src, dest, mode }, text) in &rendered {
            let is_new = write(workspace, dest, text)?;
            if let Some(mode) = mode {
                cx.command("chmod").args([mode, "--", dest]).run()?.success()?;
            }
            println!("{src} -> {dest}{}", if is_new { "" } else { " (as it was)" });
            changed += usize::from(is_new);
        }
        let files: Vec<&str> = rendered.iter().map(|(pair, _)| pair.dest.as_str()).collect();
        let summary = format!("{} rendered, {changed} changed", files.len());
        Ok(StepOutput::new().output("files", &files).output("changed", changed).summary(summary))
    }
}

dcd_plugin_sdk::export_step!(Template, asks: {
    fs: "to read the templates and to write what they become",
    exec: "to run chmod, where a `mode` is said",
});

fn environment(config: &Config, workspace: &Path) -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(config.trim_blocks)
        .lstrip_blocks(config.lstrip_blocks)
        .build();
    let syntax = syntax.map_err(|error| Error::other(error.to_string()))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax);
    // So an error names what is not defined.
    environment.set_debug(true);
    // What is made is seldom a web page; `|e` and `|tojson` escape where it is wanted.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let workspace = workspace.to_owned();
    // Templates include and extend others by their path, relative to the workspace.
    environment.set_loader(move |name| {
        let why = |why: String| minijinja::Error::new(ErrorKind::InvalidOperation, why);
        let path = shared::files::relative(name).map_err(why)?;
        match fs::read_to_string(workspace.join(&path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(why(format!("{path:?} cannot be read: {error}"))),
        }
    });
    Ok(environment)
}

fn render(environment: &Environment<'_>, src: &str, config: &Config) -> Result<String, StepError> {
    let rendered = environment.get_template(src).and_then(|template| template.render(Serde(&config.vars)));
    rendered.map_err(|error| StepError::Failed(explained(src, &error)))
}

/// Where the error is, of an included template too, and what it is.
fn explained(src: &str, error: &minijinja::Error) -> Fault {
    let mut said = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let place = match (error.name(), error.line()) {
            (Some(name), Some(line)) => format!("{name}:{line}"),
            _ => src.to_owned(),
        };
        let kind = error.kind();
        let what = error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"));
        said.push(format!("{place}: {what}"));
        next = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    }
    let fault = Fault::new(said.join("; "));
    match error.kind() {
        ErrorKind::UndefinedError => {
            fault.help("add it to `vars`, or write `NAME | default(…)` where it may be missing")
        }
        _ => fault,
    }
}

/// Writes a file, unless it is so already. One that exists keeps its mode.
fn write(workspace: &Path, dest: &str, text: &str) -> Result<bool, Error> {
    let path = workspace.join(dest);
    if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context(format!("the directory of {dest:?} cannot be made"))?;
    }
    fs::write(&path, text).context(format!("{dest:?} cannot be written"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn workspace(files: &[(&str, &str)]) -> std::io::Result<TempDir> {
        let workspace = tempfile::tempdir()?;
        for (path, text) in files {
            let path = workspace.path().join(path);
            path.parent().map(fs::create_dir_all).transpose()?;
            fs::write(path, text)?;
        }
        Ok(workspace)
    }

    fn run(workspace: &TempDir, config: &serde_json::Value) -> Result<StepOutput, StepError> {
        let mut cx = StepContext::default();
        cx.workspace = workspace.path().display().to_string();
        Template::run(dcd_plugin_sdk::parse(&config.to_string())?, cx)
    }

    #[test]
    fn files_are_rendered_below_their_destination() -> std::io::Result<()> {
        let workspace = workspace(&[
            ("t/a.yaml.j2", "tag: {{ tag }}\n{% for h in hosts %}\n- {{ h.name }}\n{% endfor %}\n"),
            ("t/d/b.html.j2", "{% include 't/_part.j2' %}<{{ tag }}>{{ hosts | tojson }}"),
            ("t/_part.j2", "{{ '<b>' }}"),
        ])?;
        let with = json!({
            "files": [{ "src": "t/**/*.{yaml,html}.j2", "dest": "out" }],
            "vars": { "tag": "<1.4>", "hosts": [{ "name": "a" }] },
            "trim_blocks": true,
        });
        let output = run(&workspace, &with).unwrap_or_default();
        assert_eq!(output.get("files"), Some(json!(["out/a.yaml", "out/d/b.html"])));
        assert_eq!(output.get("changed"), Some(json!(2)));
        let text = |path: &str| fs::read_to_string(workspace.path().join(path));
        assert_eq!(text("out/a.yaml")?, "tag: <1.4>\n- a\n");
        assert_eq!(text("out/d/b.html")?, "<b><<1.4>>[{\"name\": \"a\"}]");
        let again = run(&workspace, &with).unwrap_or_default();
        assert_eq!(again.get("changed"), Some(json!(0)));
        Ok(())
    }

    #[test]
    fn what_is_not_defined_fails_with_its_line_and_writes_nothing() -> std::io::Result<()> {
        let workspace =
            workspace(&[("a.j2", "fine"), ("b.j2", "x\n\n{{ tag.minor }}\n"), ("c.j2", "{% if %}")])?;
        let both = json!({ "files": [{ "src": "a.j2" }, { "src": "b.j2" }], "vars": { "tag": {} } });
        let Err(StepError::Failed(fault)) = run(&workspace, &both) else { unreachable!() };
        assert_eq!(fault.message, "b.j2:3: undefined value: `tag.minor` is undefined");
        assert!(fault.help.is_some() && !workspace.path().join("a").exists());
        let broken = run(&workspace, &json!({ "files": [{ "src": "c.j2" }] }));
        assert!(
            matches!(&broken, Err(StepError::Failed(fault)) if fault.message.starts_with("c.j2:1: syntax error")),
            "{broken:?}"
        );
        Ok(())
    }

    #[test]
    fn an_error_of_an_included_template_names_both() -> std::io::Result<()> {
        let workspace = workspace(&[("a.j2", "\n{% include 'b.j2' %}"), ("b.j2", "\n\n{{ no }}")])?;
        let Err(StepError::Failed(fault)) = run(&workspace, &json!({ "files": [{ "src": "a.j2" }] })) else {
            unreachable!()
        };
        assert!(
            fault.message.contains("a.j2:2: ") && fault.message.contains("b.j2:3: "),
            "{}",
            fault.message
        );
        let outside = json!({ "files": [{ "src": "c.j2" }] });
        fs::write(workspace.path().join("c.j2"), "{% include '../x' %}")?;
        let Err(StepError::Failed(fault)) = run(&workspace, &outside) else { unreachable!() };
        assert!(fault.message.contains("leaves the workspace"), "{}", fault.message);
        Ok(())
    }

    #[test]
    fn a_mode_is_set_by_chmod() -> std::io::Result<()> {
        let workspace = workspace(&[("run.sh.j2", "echo")])?;
        let with = json!({ "files": [{ "src": "run.sh.j2", "mode": "755" }] });
        assert!(matches!(run(&workspace, &with), Err(StepError::Broken(Error::Denied(_)))));
        dcd_plugin_sdk::mock::on_command(|command| {
            assert_eq!(
                (command.program(), command.arguments()),
                ("chmod", &["755", "--", "run.sh"].map(str::to_owned)[..])
            );
            Ok(dcd_plugin_sdk::command::Exit { code: Some(0), ..Default::default() })
        });
        assert!(run(&workspace, &with).is_ok());
        Ok(())
    }

    #[test]
    fn the_environment_is_not_there() -> std::io::Result<()> {
        let workspace = workspace(&[("a.j2", "{{ env.HOME }}"), ("b.j2", "{{ now() }}")])?;
        for src in ["a.j2", "b.j2"] {
            assert!(matches!(
                run(&workspace, &json!({ "files": [{ "src": src }] })),
                Err(StepError::Failed(_))
            ));
        }
        Ok(())
    }
}
