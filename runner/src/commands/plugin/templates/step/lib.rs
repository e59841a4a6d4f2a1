//! A step type. A step that says `"uses": "@NAME@"` runs it.

use dcd_plugin_sdk::{Diagnostic, Help, StepContext, StepError, StepOutput, StepType};

/// What is written under `with`. These comments become the documentation that users of the plugin see.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file of the workspace, whose lines are counted.
    pub file: String,
    /// The most lines that it may have. Default: any number.
    pub most: Option<usize>,
}

/// The plugin.
#[derive(Debug)]
pub struct @TYPE@;

impl StepType for @TYPE@ {
    const SUMMARY: &'static str = "Count the lines of a file";
    type Config = Config;

    /// Finds before the build starts what a schema cannot say.
    fn validate(config: &Config) -> Vec<Diagnostic> {
        if config.file.starts_with('/') {
            return vec![
                Diagnostic::new("/file", "must be a path in the workspace")
                    .help("write it without the first /"),
            ];
        }
        Vec::new()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let path = format!("{}/{}", cx.workspace, config.file);
        // Any error that `?` passes on means that the plugin could not do its job: the outcome is `error`.
        let text =
            std::fs::read_to_string(&path).context(format!("cannot read {}", config.file))?;
        let lines = text.lines().count();
        // What is printed is the step's output.
        println!("{} has {lines} lines", config.file);
        match config.most {
            // The work said no: the outcome is `failure`.
            Some(most) if lines > most => Err(StepError::failed(format!(
                "{} has {lines} lines, more than {most}",
                config.file
            ))),
            // Later steps read it as ${{ steps.NAME.outputs.lines }}.
            _ => Ok(StepOutput::new()
                .output("lines", lines)
                .summary(format!("{lines} lines"))),
        }
    }
}

// A plugin can touch what it asks for here and is granted by the team; nothing else.
dcd_plugin_sdk::export_step!(@TYPE@, asks: { fs: "to read the file" });

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::mock;
    use dcd_plugin_sdk::serde_json::{Value, json};

    use super::*;

    /// Runs the step with a file of three lines in its workspace; gives its output `lines`, or its error.
    fn run(name: &str, config: Value) -> Result<Option<Value>, String> {
        let workspace =
            std::env::temp_dir().join(format!("@NAME@-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("notes.txt"), "one\ntwo\nthree\n").unwrap();
        let mut cx = StepContext::default();
        cx.workspace = workspace.display().to_string();
        let result = mock::run::<@TYPE@>(config, cx);
        std::fs::remove_dir_all(&workspace).unwrap();
        result
            .map(|output| output.get("lines"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_counted() {
        for (name, config, expected) in [
            ("all", json!({ "file": "notes.txt" }), Ok(Some(json!(3)))),
            (
                "few-enough",
                json!({ "file": "notes.txt", "most": 3 }),
                Ok(Some(json!(3))),
            ),
            (
                "too-many",
                json!({ "file": "notes.txt", "most": 2 }),
                Err("notes.txt has 3 lines, more than 2"),
            ),
            (
                "absolute",
                json!({ "file": "/etc/passwd" }),
                Err("the configuration is wrong: /file: must be a path in the workspace"),
            ),
        ] {
            assert_eq!(run(name, config), expected.map_err(str::to_owned), "{name}");
        }
    }
}
