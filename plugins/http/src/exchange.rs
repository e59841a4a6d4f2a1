//! Sending, trying again, and judging the answer.

use std::time::{Duration, Instant};

use dcd_plugin_sdk::http::{self, Client, Response};
use dcd_plugin_sdk::{Error, StepContext, StepError, StepOutput};

use crate::plan::Plan;

/// Statuses that say "later".
const TRANSIENT: [u16; 4] = [429, 502, 503, 504];
/// How much of an unexpected answer is shown.
const SHOWN: usize = 500;
/// The longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// How often a wait looks whether the step was cancelled.
const GLANCE: Duration = Duration::from_millis(100);

pub(crate) fn run(plan: &Plan, cx: &StepContext) -> Result<StepOutput, StepError> {
    let client = Client::new()
        .timeout(plan.timeout)
        .first_byte_timeout(plan.timeout)
        .between_bytes_timeout(plan.timeout);
    let mut attempt = 1;
    loop {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        let is_last = attempt > plan.retries;
        let wait = match send(plan, &client) {
            Ok(answer) if plan.expects(answer.status()) => return output(plan, &answer),
            Ok(answer) if is_last || !TRANSIENT.contains(&answer.status()) => {
                return Err(unexpected(plan, &answer));
            }
            Ok(answer) => answer.retry_after().unwrap_or_default().clamp(plan.retry_delay, longest(plan)),
            Err(error) if is_last || !error.is_transient() => return Err(no_answer(error, attempt).into()),
            Err(_) => plan.retry_delay,
        };
        pause(wait, cx)?;
        attempt += 1;
    }
}

fn longest(plan: &Plan) -> Duration {
    LONGEST_WAIT.max(plan.retry_delay)
}

/// Makes one attempt, and prints how it went.
fn send(plan: &Plan, client: &Client) -> Result<Response, http::Error> {
    let start = Instant::now();
    let answer = client.send(plan.request.clone());
    let took = start.elapsed().as_millis();
    let label = &plan.label;
    match &answer {
        Ok(answer) => println!("{label} -> {} in {took} ms", named(answer.status())),
        Err(error) => println!("{label} -> {error} ({took} ms)"),
    }
    answer
}

fn named(status: u16) -> String {
    format!("{status} {}", http::reason(status)).trim_end().to_owned()
}

fn output(plan: &Plan, answer: &Response) -> Result<StepOutput, StepError> {
    let mut output = StepOutput::new().output("status", answer.status()).summary(named(answer.status()));
    for (name, take) in &plan.outputs {
        let value = take.from(answer).map_err(|why| {
            StepError::failed(format!("the output `{name}` cannot be taken from the answer: {why}"))
        })?;
        output = output.output(name, value);
    }
    Ok(output)
}

fn unexpected(plan: &Plan, answer: &Response) -> StepError {
    let (label, status, expected) = (&plan.label, named(answer.status()), plan.expectation());
    let body = match sanitised(answer.bytes()) {
        body if body.is_empty() => "the answer has no body".to_owned(),
        body => format!("the answer: {body}"),
    };
    StepError::failed(format!("{label} answered {status}, but {expected} was expected; {body}"))
}

/// The beginning of a body, on one line and without anything that a terminal would act on.
fn sanitised(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let plain: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if body.len() > SHOWN { format!("{text}...") } else { text }
}

fn no_answer(error: http::Error, attempts: u32) -> Error {
    let error = Error::from(error);
    if attempts == 1 { error } else { error.context(format!("no answer in {attempts} attempts")) }
}

fn pause(wait: Duration, cx: &StepContext) -> Result<(), StepError> {
    let start = Instant::now();
    while let Some(left) = wait.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        std::thread::sleep(left.min(GLANCE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::{StepType as _, mock};

    use super::*;
    use crate::Http;

    fn run(config: &str) -> Result<StepOutput, StepError> {
        Http::run(dcd_plugin_sdk::parse(config)?, StepContext::default())
    }

    /// Answers one after the other; the last one again and again.
    fn answers(answers: Vec<Result<Response, http::Error>>) -> std::rc::Rc<std::cell::Cell<usize>> {
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = sent.clone();
        mock::on_http(move |_| {
            let index = count.get();
            count.set(index + 1);
            answers[index.min(answers.len() - 1)].clone()
        });
        sent
    }

    #[test]
    fn outputs_come_from_the_answer() {
        answers(vec![Ok(Response::new(201).header("etag", "e").body(r#"{"id": 7}"#))]);
        let output = run(r#"{"url": "https://a", "outputs": {"id": "/id", "tag": "header:ETag"}}"#);
        let get = |name| output.as_ref().ok().and_then(|output| output.get(name));
        assert_eq!(
            (get("status"), get("id"), get("tag")),
            (Some(201.into()), Some(7.into()), Some("e".into()))
        );
    }

    #[test]
    fn a_missing_output_fails_the_step() {
        answers(vec![Ok(Response::new(200).body("{}"))]);
        let failed = run(r#"{"url": "https://a", "outputs": {"id": "/id"}}"#);
        assert!(matches!(failed, Err(StepError::Failed(fault)) if fault.message.contains("\"/id\"")));
    }

    #[test]
    fn an_unexpected_status_fails_with_a_harmless_excerpt() {
        answers(vec![Ok(Response::new(500).body(format!("\x1b[31moh\n no{}", "x".repeat(600))))]);
        let Err(StepError::Failed(fault)) = run(r#"{"url": "https://a/b?t=s3cr3t"}"#) else { unreachable!() };
        let start = "GET https://a/b?t=... answered 500 Internal Server Error, but 2xx was expected; the answer: [31moh no";
        assert!(fault.message.starts_with(start), "{}", fault.message);
        assert!(fault.message.ends_with("x...") && fault.message.len() < 700);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let sent = answers(vec![
            Err(http::Error::Unreachable("refused".into())),
            Ok(Response::new(503)),
            Ok(Response::new(204)),
        ]);
        assert!(run(r#"{"url": "https://a", "retries": 2, "retry_delay": "1ms"}"#).is_ok());
        assert_eq!(sent.get(), 3);
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let sent = answers(vec![Ok(Response::new(404))]);
        assert!(matches!(run(r#"{"url": "https://a", "retries": 5}"#), Err(StepError::Failed(_))));
        assert_eq!(sent.get(), 1);
    }

    #[test]
    fn no_answer_after_all_attempts_is_unavailable() {
        let sent = answers(vec![Err(http::Error::Timeout("slow".into()))]);
        let result = run(r#"{"url": "https://a", "retries": 1, "retry_delay": "0s"}"#);
        let Err(StepError::Broken(Error::Unavailable(fault))) = result else { unreachable!() };
        assert_eq!((fault.message.as_str(), sent.get()), ("no answer in 2 attempts: slow", 2));
    }

    #[test]
    fn a_host_that_is_not_granted_is_denied() {
        // The mock denies everything until it is told otherwise.
        let Err(StepError::Broken(Error::Denied(fault))) = run(r#"{"url": "https://a.example/b"}"#) else {
            unreachable!()
        };
        assert_eq!(fault.message, "the plugin is not granted to reach https://a.example");
    }

    #[test]
    fn a_wait_ends_when_the_step_is_cancelled() {
        mock::on_http(|_| {
            mock::cancel();
            Ok(Response::new(503))
        });
        let result = run(r#"{"url": "https://a", "retries": 1, "retry_delay": "1h"}"#);
        assert_eq!(result, Err(StepError::Cancelled));
    }
}
