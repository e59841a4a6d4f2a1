//! Between the trait and what wit-bindgen wants.

use core::marker::PhantomData;

use super::{Input, StepContext, StepError, StepOutput, StepType};
use crate::bindings::step::exports::dcd::plugin::step as wire;
use crate::config::{self, Package};
use crate::types::{Diagnostic, Error, PluginInfo};

/// Exports a [`StepType`]; used by [`export_step!`](crate::export_step).
#[doc(hidden)]
pub struct StepAdapter<T>(PhantomData<T>);

impl<T: StepType + Package> wire::Guest for StepAdapter<T> {
    fn describe() -> PluginInfo {
        crate::panic::install();
        config::info::<T, T::Config>(T::SUMMARY, T::FEATURES)
    }

    fn validate(json: String) -> Result<Vec<Diagnostic>, Error> {
        crate::panic::install();
        config::findings::<T::Config>(&json, T::validate)
    }

    fn run(json: String, cx: wire::StepContext) -> Result<wire::StepOutput, wire::StepError> {
        crate::panic::install();
        Ok(run::<T>(&json, cx)?)
    }
}

fn run<T: StepType>(json: &str, cx: wire::StepContext) -> Result<wire::StepOutput, StepError> {
    let output = T::run(config::parse(json)?, context(cx)?)?;
    output.try_into()
}

fn context(cx: wire::StepContext) -> Result<StepContext, Error> {
    let input = |(step, name, json): (String, String, String)| {
        let value = serde_json::from_str(&json)?;
        Ok(Input { step, name, value })
    };
    Ok(StepContext {
        build_id: cx.build_id,
        build_number: cx.build_number,
        component: cx.component,
        step_name: cx.step_name,
        attempt: cx.attempt,
        workspace: cx.workspace,
        inputs: cx.inputs.into_iter().map(input).collect::<Result<_, Error>>()?,
        facts: serde_json::from_str(&cx.facts)?,
    })
}

impl TryFrom<StepOutput> for wire::StepOutput {
    type Error = StepError;

    fn try_from(output: StepOutput) -> Result<Self, StepError> {
        match output.broken {
            Some(error) => Err(error.into()),
            None => Ok(Self { outputs: output.outputs, summary: output.summary }),
        }
    }
}

impl From<StepError> for wire::StepError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Failed(fault) => Self::Failed(fault),
            StepError::Cancelled => Self::Cancelled,
            StepError::Broken(error) => Self::Broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Greeting {
        name: String,
    }

    struct Greet;

    impl StepType for Greet {
        const SUMMARY: &'static str = "Greet";
        type Config = Greeting;

        fn run(config: Greeting, cx: StepContext) -> Result<StepOutput, StepError> {
            let first = cx.input("first", "greeting").cloned().unwrap_or_default();
            Ok(StepOutput::new().output("greeting", format!("{first} {}", config.name)))
        }
    }

    impl Package for Greet {
        const NAME: &'static str = "greet";
        const VERSION: &'static str = "1.2.3";
    }

    fn wire_context(input: &str) -> wire::StepContext {
        wire::StepContext {
            build_id: String::new(),
            build_number: None,
            component: String::new(),
            step_name: String::new(),
            attempt: 1,
            workspace: "/w".into(),
            inputs: vec![("first".into(), "greeting".into(), input.into())],
            facts: "{}".into(),
        }
    }

    #[test]
    fn a_step_runs_through_the_adapter() {
        type Adapter = StepAdapter<Greet>;
        let info = <Adapter as wire::Guest>::describe();
        assert_eq!((info.name.as_str(), info.version.as_str()), ("greet", "1.2.3"));
        let output = <Adapter as wire::Guest>::run(r#"{"name": "b"}"#.into(), wire_context("1")).ok();
        assert_eq!(output.map(|output| output.outputs), Some(vec![("greeting".into(), "\"1 b\"".into())]));
        let findings = <Adapter as wire::Guest>::validate("{}".into()).unwrap_or_default();
        assert_eq!(findings, [Diagnostic::new("", "missing field `name`")]);
        assert!(<Adapter as wire::Guest>::run(r#"{"name": "b"}"#.into(), wire_context("{")).is_err());
    }
}
