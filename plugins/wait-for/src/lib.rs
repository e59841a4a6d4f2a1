//! A step type that waits until a server is ready: until a port takes connections, or a URL answers as it
//! should.
//!
//! ```json
//! { "uses": "wait-for", "with": { "tcp": "db.internal:5432", "timeout": "2m" } }
//! ```

mod config;
mod plan;
mod tcp;

use std::time::{Duration, Instant};

use dcd_plugin_sdk::http::{Client, Error as HttpError, Request};
use dcd_plugin_sdk::{Diagnostic, Error, StepContext, StepError, StepOutput, StepType};
use shared::{text, wait};

pub use config::Config;
pub use plan::Plan;
use plan::Target;

/// The step type.
#[derive(Debug)]
pub struct WaitFor;

impl StepType for WaitFor {
    const SUMMARY: &'static str = "Wait until a server is ready";
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        Plan::new(config).err().unwrap_or_default()
    }

    fn run(config: Config, cx: StepContext) -> Result<StepOutput, StepError> {
        let plan = Plan::new(&config).map_err(Error::InvalidConfig)?;
        until_ready(&plan, &cx)
    }
}

dcd_plugin_sdk::export_step!(WaitFor, asks: { http: "to ask the URL", tcp: "to connect to the port" });

/// How long the last look may take: one that had no time would see nothing.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What one look found.
enum Seen {
    /// It is ready.
    Ready(String),
    /// It is not, for this reason.
    NotYet(String),
}

fn until_ready(plan: &Plan, cx: &StepContext) -> Result<StepOutput, StepError> {
    let (start, label) = (Instant::now(), plan.label());
    let mut last = String::new();
    let mut tries = 0_u32;
    loop {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        tries += 1;
        let left = plan.timeout.saturating_sub(start.elapsed());
        match look(plan, cx, plan.attempt_timeout.min(left.max(LAST_LOOK)))? {
            Seen::Ready(how) => {
                let waited = start.elapsed();
                println!("{label}: {how}");
                let summary = format!("ready after {} ({} tries)", seconds(waited), tries);
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Ok(StepOutput::new()
                    .output("tries", tries)
                    .output("waited_ms", waited_ms)
                    .summary(if tries == 1 { "ready at once".to_owned() } else { summary }));
            }
            // The same again says nothing new.
            Seen::NotYet(what) if what == last => {}
            Seen::NotYet(what) => {
                println!("{label}: {what}");
                last = what;
            }
        }
        let left = plan.timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(StepError::failed(format!(
                "{label} was not ready within {:?} ({tries} tries); the last one: {last}",
                plan.timeout
            )));
        }
        wait::pause(plan.interval.min(left), cx)?;
    }
}

fn look(plan: &Plan, cx: &StepContext, limit: Duration) -> Result<Seen, StepError> {
    match &plan.target {
        Target::Tcp { host, port } => tcp::look(host, *port, limit, cx),
        Target::Http(url) => ask(plan, &format!("{}{}", url.origin(), url.path_and_query()), limit, cx),
    }
}

fn ask(plan: &Plan, url: &str, limit: Duration, cx: &StepContext) -> Result<Seen, StepError> {
    let client =
        Client::new().timeout(limit).connect_timeout(limit).first_byte_timeout(limit).cancellable(cx);
    let answer = match client.send(Request::get(url)) {
        Ok(answer) => answer,
        Err(_) if cx.cancelled() => return Err(StepError::Cancelled),
        // No wait changes what is granted, or what the URL is.
        Err(error @ (HttpError::Denied { .. } | HttpError::InvalidRequest(_))) => {
            return Err(Error::from(error).into());
        }
        Err(error) => return Ok(Seen::NotYet(error.to_string())),
    };
    let status = text::named(answer.status());
    if !plan.expected.has(answer.status()) {
        return Ok(Seen::NotYet(format!("it answers {status}; {}", text::answer(answer.bytes()))));
    }
    let Some(wanted) = &plan.contains else { return Ok(Seen::Ready(format!("it answers {status}"))) };
    if String::from_utf8_lossy(answer.bytes()).contains(wanted.as_str()) {
        return Ok(Seen::Ready(format!("it answers {status} with {wanted:?}")));
    }
    Ok(Seen::NotYet(format!("it answers {status} without {wanted:?}; {}", text::answer(answer.bytes()))))
}

/// As people say it.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::http::Response;
    use dcd_plugin_sdk::mock;

    use super::*;

    fn run(config: &str) -> Result<StepOutput, StepError> {
        WaitFor::run(dcd_plugin_sdk::parse(config)?, StepContext::default())
    }

    fn answers(mut answers: Vec<Result<Response, HttpError>>) {
        mock::on_http(move |_| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
    }

    #[test]
    fn it_waits_for_the_status_and_the_text() {
        answers(vec![
            Err(HttpError::Unreachable("refused".into())),
            Ok(Response::new(503)),
            Ok(Response::new(200).body("starting")),
            Ok(Response::new(200).body("all ready")),
        ]);
        let output = run(r#"{"url": "http://a", "contains": "ready", "interval": "1ms"}"#);
        let tries = output.ok().and_then(|output| output.get("tries"));
        assert_eq!(tries, Some(4.into()));
    }

    #[test]
    fn it_says_what_it_saw_last() {
        answers(vec![Ok(Response::new(503).body("no\nworkers"))]);
        let failed = run(r#"{"url": "http://a/x?t=s", "timeout": "5ms", "interval": "2ms"}"#);
        let Err(StepError::Failed(fault)) = failed else { unreachable!() };
        assert!(
            fault.message.starts_with("GET http://a/x?t=... was not ready within 5ms ("),
            "{}",
            fault.message
        );
        let end = "the last one: it answers 503 Service Unavailable; the answer: no workers";
        assert!(fault.message.ends_with(end), "{}", fault.message);
    }

    #[test]
    fn what_no_wait_changes_ends_it() {
        assert!(matches!(run(r#"{"url": "http://a"}"#), Err(StepError::Broken(Error::Denied(_)))));
        answers(vec![Ok(Response::new(503))]);
        mock::cancel();
        assert_eq!(run(r#"{"url": "http://a"}"#), Err(StepError::Cancelled));
    }

    #[test]
    fn a_port_is_ready_when_it_takes_a_connection() -> std::io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        assert!(run(&format!(r#"{{"tcp": "127.0.0.1:{port}"}}"#)).is_ok());
        drop(listener);
        let failed = run(&format!(r#"{{"tcp": "127.0.0.1:{port}", "timeout": "5ms", "interval": "2ms"}}"#));
        let Err(StepError::Failed(fault)) = failed else { unreachable!() };
        assert!(fault.message.ends_with("the last one: the connection is refused"), "{}", fault.message);
        Ok(())
    }
}
