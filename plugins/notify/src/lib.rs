//! A step type that tells a chat or another service how the build goes.
//!
//! ```json
//! { "uses": "notify", "if": "always()", "with": { "to": "slack", "url_secret": "SLACK_WEBHOOK" } }
//! ```
//!
//! A webhook's URL is a secret: whoever has it can write. So no pipeline file holds it, and it is not printed.

mod config;
mod news;

use std::time::Duration;

use dcd_plugin_sdk::http::{Client, Request, Url};
use dcd_plugin_sdk::{Diagnostic, Error, Help as _, StepContext, StepError, StepOutput, StepType};
use shared::retry::{self, Retry};
use shared::{Findings, text};

pub use config::{Config, To};
use news::News;

/// The step type.
#[derive(Debug)]
pub struct Notify;

impl StepType for Notify {
    const SUMMARY: &'static str = "Tell Slack, Teams or another service how the build goes";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        Times::of(config).err().unwrap_or_default()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let times = Times::of(&config).map_err(Error::InvalidConfig)?;
        let url = url(&config, &cx)?;
        let message = match &config.json {
            Some(json) => json.clone(),
            None => News::of(&cx)?.message(config.to, config.text.as_deref()),
        };
        let target = format!("{}{}", url.origin(), url.path_and_query());
        // All but the origin is as good as a password.
        let label = format!("POST {}/...", url.origin());
        let client = Client::new().timeout(times.timeout).first_byte_timeout(times.timeout).cancellable(&cx);
        let request = Request::post(target).json(&message).map_err(Error::from)?;
        let is_taken = |status: u16| (200..300).contains(&status);
        let answer = retry::send(&client, &request, &label, &times.retry, is_taken, &cx)?;
        let status = text::named(answer.status());
        if !is_taken(answer.status()) {
            let said = text::answer(answer.bytes());
            return Err(StepError::failed(format!("{label} answered {status}: nobody was told; {said}")));
        }
        let told = match config.to {
            To::Slack => "told Slack",
            To::Teams => "told Teams",
            To::Webhook => "sent",
        };
        Ok(StepOutput::new().output("status", answer.status()).summary(told))
    }
}

dcd_plugin_sdk::export_step!(Notify, asks: {
    http: "to send the message",
    secrets: "to know the webhook's URL",
    env: "to know the webhook's URL, where a variable has it",
});

/// How long and how often, understood.
struct Times {
    timeout: Duration,
    retry: Retry,
}

impl Times {
    /// Understands a configuration, or says everything that is wrong with it.
    fn of(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        match (&config.url_secret, &config.url_env) {
            (None, None) => {
                findings.add("", "say where the webhook's URL comes from: `url_secret` or `url_env`");
            }
            (Some(_), Some(_)) => {
                findings.add("/url_env", "the URL comes from one place: `url_secret` or this");
            }
            _ => {}
        }
        match (&config.json, config.to) {
            (Some(_), To::Slack | To::Teams) => {
                findings.add(
                    "/json",
                    "this service takes messages of its own form: give `text`, or tell `webhook`",
                );
            }
            (Some(_), To::Webhook) if config.text.is_some() => {
                findings.add("/text", "what is sent is `json`: give one of the two");
            }
            _ => {}
        }
        let delay = findings.duration("/retry_delay", config.retry_delay.as_deref(), Duration::from_secs(1));
        let timeout = findings.time("/timeout", config.timeout.as_deref(), Duration::from_secs(10));
        let retry = Retry { retries: config.retries.unwrap_or(3), delay, backoff: 2.0 };
        findings.none_or(Self { timeout, retry })
    }
}

fn url(config: &Config, cx: &StepContext) -> Result<Url, Error> {
    let (value, from) = match (&config.url_secret, &config.url_env) {
        (Some(name), _) => (cx.secret(name)?, format!("the secret {name}")),
        (None, Some(name)) => {
            let value = std::env::var(name).map_err(|_| {
                let help = format!("set it and grant it: \"allow\": {{\"env\": [\"{name}\"]}}");
                Error::not_found(format!("the plugin sees no variable {name}")).help(help)
            });
            (value?, format!("the variable {name}"))
        }
        (None, None) => return Err(Error::invalid_config("", "say where the webhook's URL comes from")),
    };
    Url::parse(value.trim()).map_err(Error::from).context(format!("{from} is no webhook's URL"))
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::http::Response;
    use dcd_plugin_sdk::mock;
    use serde_json::json;

    use super::*;

    fn run(config: &str) -> Result<StepOutput, StepError> {
        let mut cx = StepContext::default();
        cx.facts = json!({ "steps": {} });
        Notify::run(dcd_plugin_sdk::parse(config)?, cx)
    }

    #[test]
    fn the_url_is_a_secret() {
        mock::set_secret("HOOK", "https://hooks.example/T0/x?y=z\n");
        mock::on_http(|request| {
            let is_right = request.url() == "https://hooks.example/T0/x?y=z" && request.method() == "POST";
            Ok(Response::new(if is_right { 200 } else { 404 }))
        });
        assert!(run(r#"{"to": "slack", "url_secret": "HOOK"}"#).is_ok());
        mock::on_http(|_| Ok(Response::new(403).body("invalid_token")));
        let Err(StepError::Failed(fault)) = run(r#"{"to": "slack", "url_secret": "HOOK"}"#) else {
            unreachable!()
        };
        assert_eq!(
            fault.message,
            "POST https://hooks.example/... answered 403 Forbidden: nobody was told; the answer: invalid_token"
        );
        mock::set_secret("BAD", "hooks.example");
        let bad = run(r#"{"to": "slack", "url_secret": "BAD"}"#);
        assert!(
            matches!(bad, Err(StepError::Broken(error)) if error.to_string().starts_with("the secret BAD is no"))
        );
        let none = run(r#"{"to": "slack", "url_env": "DCD_TEST_NO_SUCH"}"#);
        assert!(matches!(none, Err(StepError::Broken(Error::NotFound(_)))));
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let pointers = |json: &str| -> Vec<String> {
            let Ok(config) = dcd_plugin_sdk::parse::<Config>(json) else { return vec!["?".into()] };
            Notify::validate(&config).into_iter().map(|finding| finding.pointer).collect()
        };
        assert_eq!(pointers(r#"{"to": "slack"}"#), [""]);
        assert_eq!(
            pointers(r#"{"to": "teams", "url_env": "A", "url_secret": "B", "json": 1}"#),
            ["/url_env", "/json"]
        );
        assert_eq!(pointers(r#"{"to": "webhook", "url_env": "A", "json": 1, "text": "x"}"#), ["/text"]);
        assert_eq!(pointers(r#"{"to": "slack", "url_env": "A", "timeout": "0s"}"#), ["/timeout"]);
    }
}
