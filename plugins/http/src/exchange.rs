//! Sending, following redirects, and judging the answer.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dcd_plugin_sdk::http::{Client, Request, Response};
use dcd_plugin_sdk::{Error, Help as _, StepContext, StepError, StepOutput};
use shared::{retry, text};

use crate::config::{Auth, Header};
use crate::plan::{Body, Plan};
use crate::redirect;

/// How long an answer may be: what the runner allows at most.
const ANSWER: usize = 64 << 20;

pub(crate) fn run(plan: &Plan, cx: &StepContext) -> Result<StepOutput, StepError> {
    let client = Client::new()
        .timeout(plan.timeout)
        .first_byte_timeout(plan.timeout)
        .between_bytes_timeout(plan.timeout)
        .body_limit(ANSWER)
        .cancellable(cx);
    let (mut request, secret) = request(plan, cx)?;
    let mut url = plan.url.clone();
    let mut followed = 0;
    loop {
        let label = text::label(request.method(), &url);
        let wanted = |status| plan.expected.has(status);
        let answer = retry::send(&client, &request, &label, &plan.retry, wanted, cx)?;
        if wanted(answer.status()) {
            return finish(plan, cx, &answer);
        }
        let next = match redirect::next(&request, &url, &answer, &secret) {
            Some(next) if plan.redirects > 0 => next?,
            _ => return Err(unexpected(plan, &label, &answer)),
        };
        followed += 1;
        if followed > plan.redirects {
            return Err(StepError::failed(format!(
                "{} was redirected more than {} times, the last time to {}",
                text::label(&plan.method, &plan.url),
                plan.redirects,
                text::label(next.0.method(), &next.1)
            )));
        }
        (request, url) = next;
    }
}

/// The first request, and the names of its headers that hold secrets.
fn request(plan: &Plan, cx: &StepContext) -> Result<(Request, Vec<String>), Error> {
    let mut request =
        Request::new(&plan.method, format!("{}{}", plan.url.origin(), plan.url.path_and_query()));
    let mut secret = Vec::new();
    for (name, value) in &plan.headers {
        let value = match value {
            Header::Text(text) => text.clone(),
            Header::Secret(of) => {
                secret.push(name.clone());
                format!("{}{}", of.prefix, one_line(cx, &of.secret)?)
            }
        };
        request = request.header(name, value);
    }
    request = match &plan.auth {
        None => request,
        Some(Auth::Bearer { bearer }) => {
            request.header("authorization", format!("Bearer {}", one_line(cx, bearer)?))
        }
        Some(Auth::Basic { user, password }) => {
            let both = STANDARD.encode(format!("{user}:{}", one_line(cx, password)?));
            request.header("authorization", format!("Basic {both}"))
        }
    };
    let request = match &plan.body {
        Body::None => request,
        Body::Bytes(bytes) => request.body(bytes.clone()),
        Body::File(path) => {
            let bytes = std::fs::read(Path::new(&cx.workspace).join(path));
            request.body(bytes.context(format!("`file`, {path:?}, cannot be read"))?)
        }
    };
    Ok((request, secret))
}

/// A secret that a header can hold. Files that hold one often end with a line break.
fn one_line(cx: &StepContext, name: &str) -> Result<String, Error> {
    let value = cx.secret(name)?;
    let value = value.trim_end_matches(['\r', '\n']);
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Error::other(format!(
            "the secret {name} cannot be sent in a header: it has several lines"
        )));
    }
    Ok(value.to_owned())
}

fn finish(plan: &Plan, cx: &StepContext, answer: &Response) -> Result<StepOutput, StepError> {
    let status = answer.status();
    let mut output = StepOutput::new().output("status", status).summary(text::named(status));
    for (name, take) in &plan.outputs {
        let value = take.from(answer).map_err(|why| {
            StepError::failed(format!("the output `{name}` cannot be taken from the answer: {why}"))
        })?;
        output = output.output(name, value);
    }
    if let Some(path) = &plan.save_to {
        let file = Path::new(&cx.workspace).join(path);
        let directory = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let cannot = format!("the answer cannot be written to {path:?}");
        directory.and_then(|()| std::fs::write(&file, answer.bytes())).context(cannot)?;
        println!("{} bytes written to {path}", answer.bytes().len());
    }
    Ok(output)
}

fn unexpected(plan: &Plan, label: &str, answer: &Response) -> StepError {
    let (status, expected) = (text::named(answer.status()), plan.expected.words());
    let said = text::answer(answer.bytes());
    StepError::failed(format!("{label} answered {status}, but {expected} was expected; {said}"))
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::{StepType as _, http, mock};

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

    #[test]
    fn secrets_go_into_headers_and_nowhere_else() {
        mock::set_secret("TOKEN", "t0p\n");
        mock::on_http(|request| {
            let header = |name| request.header_value(name).unwrap_or_default();
            Ok(Response::new(if (header("x-key"), header("authorization")) == ("k=t0p", "Basic YTp0MHA=") {
                200
            } else {
                400
            }))
        });
        let with = r#"{"url": "https://a", "headers": {"x-key": {"secret": "TOKEN", "prefix": "k="}},
                       "auth": {"user": "a", "password": "TOKEN"}}"#;
        assert!(run(with).is_ok(), "{:?}", run(with));
        mock::set_secret("TWO", "a\nb");
        let with = r#"{"url": "https://a", "auth": {"bearer": "TWO"}}"#;
        assert!(
            matches!(run(with), Err(StepError::Broken(Error::Other(f))) if f.message.contains("several lines"))
        );
        let with = r#"{"url": "https://a", "auth": {"bearer": "NONE"}}"#;
        assert!(matches!(run(with), Err(StepError::Broken(Error::Denied(_)))));
    }

    #[test]
    fn redirects_are_followed_to_their_limit() {
        let there = || Ok(Response::new(302).header("location", "/there"));
        let sent = answers(vec![there(), there(), Ok(Response::new(200))]);
        assert!(run(r#"{"url": "https://a"}"#).is_ok());
        assert_eq!(sent.get(), 3);
        answers(vec![there()]);
        let Err(StepError::Failed(fault)) = run(r#"{"url": "https://a", "redirects": 2}"#) else {
            unreachable!()
        };
        let wanted = "GET https://a/ was redirected more than 2 times, the last time to GET https://a/there";
        assert_eq!(fault.message, wanted);
        let sent = answers(vec![there()]);
        assert!(run(r#"{"url": "https://a", "expect_status": 302}"#).is_ok());
        assert!(matches!(run(r#"{"url": "https://a", "redirects": 0}"#), Err(StepError::Failed(_))));
        assert_eq!(sent.get(), 2);
    }

    #[test]
    fn files_are_sent_and_answers_saved() -> std::io::Result<()> {
        let workspace = tempfile::tempdir()?;
        std::fs::write(workspace.path().join("in.bin"), b"\0\xff")?;
        mock::on_http(|request| Ok(Response::new(200).body(request.body_bytes())));
        let config = r#"{"url": "https://a", "file": "in.bin", "save_to": "d/out.bin"}"#;
        let mut cx = StepContext::default();
        cx.workspace = workspace.path().display().to_string();
        assert!(dcd_plugin_sdk::parse(config).is_ok_and(|config| Http::run(config, cx).is_ok()));
        assert_eq!(std::fs::read(workspace.path().join("d/out.bin"))?, b"\0\xff");
        let missing = run(r#"{"url": "https://a", "file": "no.bin"}"#);
        assert!(matches!(missing, Err(StepError::Broken(Error::NotFound(_)))));
        Ok(())
    }
}
