//! Uses every interface of the step world once.

use dcd_plugin_sdk::{Diagnostic, StepContext, StepError, StepOutput, StepType, log};

/// What to do.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What to say.
    say: String,
    /// A program to run.
    #[serde(default)]
    run: Vec<String>,
    /// A secret whose length is told.
    #[serde(default)]
    secret: Option<String>,
}

pub struct Compat;

impl StepType for Compat {
    const SUMMARY: &'static str = "Use every interface once";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        if config.say.is_empty() { vec![Diagnostic::new("/say", "there is nothing to say")] } else { Vec::new() }
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        println!("{} says {} in try {}", cx.step_name, config.say, cx.attempt);
        log::info("it was said", &[("said", &config.say)]);
        cx.progress(1, 1, "said");
        let mut output = StepOutput::new().output("said", &config.say).output("cancelled", cx.cancelled());
        if let [program, args @ ..] = config.run.as_slice() {
            let exit = cx.command(program.clone()).args(args.iter().cloned()).run()?;
            output = output.output("exit", exit.code);
        }
        if let Some(secret) = config.secret {
            output = output.output("secret", cx.secret(&secret)?.len());
        }
        Ok(output.summary("all was said"))
    }
}

dcd_plugin_sdk::export_step!(Compat, asks: { exec: "to run what it is told", secrets: "to tell how long one is" });
