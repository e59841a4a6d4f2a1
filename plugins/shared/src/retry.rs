//! Trying a request again.

use std::time::{Duration, Instant};

use dcd_plugin_sdk::http::{self, Client, Request, Response};
use dcd_plugin_sdk::{Error, StepContext, StepError};

use crate::{text, wait};

/// Statuses that say "later".
const TRANSIENT: [u16; 5] = [408, 429, 502, 503, 504];
/// The longest wait between two tries, whatever the server or the back-off says.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How often a request is tried again, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How many tries may follow the first one.
    pub retries: u32,
    /// The wait before the second try.
    pub delay: Duration,
    /// What the wait is multiplied with after each try.
    pub backoff: f64,
}

impl Retry {
    /// The wait after try number `attempt`, which is 1 for the first.
    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let longest = LONGEST_WAIT.max(self.delay);
        let factor = self.backoff.powi(i32::try_from(attempt).unwrap_or(i32::MAX) - 1);
        let own = Duration::try_from_secs_f64(self.delay.as_secs_f64() * factor).unwrap_or(longest);
        asked.unwrap_or_default().max(own).min(longest)
    }
}

/// Sends a request, again as long as that may help, and prints how each try went. Any answer is given back
/// that is `wanted` or not worth another try.
pub fn send(
    client: &Client,
    request: &Request,
    label: &str,
    retry: &Retry,
    wanted: impl Fn(u16) -> bool,
    cx: &StepContext,
) -> Result<Response, StepError> {
    let mut attempt = 1;
    loop {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        let is_last = attempt > retry.retries;
        let asked = match once(client, request, label) {
            Ok(answer) if is_last || wanted(answer.status()) || !TRANSIENT.contains(&answer.status()) => {
                return Ok(answer);
            }
            Ok(answer) => answer.retry_after(),
            Err(_) if cx.cancelled() => return Err(StepError::Cancelled),
            Err(error) if is_last || !error.is_transient() => return Err(no_answer(error, attempt).into()),
            Err(_) => None,
        };
        wait::pause(retry.wait(attempt, asked), cx)?;
        attempt += 1;
    }
}

fn once(client: &Client, request: &Request, label: &str) -> Result<Response, http::Error> {
    let start = Instant::now();
    let answer = client.send(request.clone());
    let took = start.elapsed().as_millis();
    match &answer {
        Ok(answer) => println!("{label} -> {} in {took} ms", text::named(answer.status())),
        Err(error) => println!("{label} -> {error} ({took} ms)"),
    }
    answer
}

fn no_answer(error: http::Error, attempts: u32) -> Error {
    let error = Error::from(error);
    if attempts == 1 { error } else { error.context(format!("no answer in {attempts} attempts")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let retry = Retry { retries: 9, delay: Duration::from_secs(2), backoff: 3.0 };
        let waits: Vec<_> = [1, 2, 3, 9].map(|attempt| retry.wait(attempt, None).as_secs()).into();
        assert_eq!(waits, [2, 6, 18, 300]);
        assert_eq!(retry.wait(1, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(retry.wait(2, Some(Duration::from_secs(1))).as_secs(), 6);
        assert_eq!(retry.wait(1, Some(Duration::from_hours(1))).as_secs(), 300);
        assert_eq!(retry.wait(u32::MAX, None).as_secs(), 300);
    }
}
