//! The client: limits, and nothing that is kept between requests.

use std::time::Duration;

use super::{Error, Request, Response};
use crate::StepContext;

/// The pause before the second try; each one after is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also when a server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many requests are under way at once: half of the connections that the runner allows an instance.
const AT_ONCE: usize = 16;

/// Sends requests within limits of time and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub(super) timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) first_byte_timeout: Duration,
    pub(super) between_bytes_timeout: Duration,
    pub(super) body_limit: usize,
    pub(super) attempts: u32,
    pub(super) cancelled: Option<Question>,
}

/// Whether the step was cancelled. A function, so that only plugins that ask import what answers: history backends
/// cannot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question(fn() -> bool);

impl PartialEq for Question {
    /// There is one such question.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Question {}

impl Default for Client {
    fn default() -> Self {
        Self {
            timeout: None,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            body_limit: 16 << 20,
            attempts: 1,
            cancelled: None,
        }
    }
}

impl Client {
    /// A client with the usual limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the whole exchange, from the connection to the body's last byte. Default: no limit.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Limits making the connection. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limits the wait for the first byte of the answer. Default: 30 s.
    #[must_use]
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.first_byte_timeout = limit;
        self
    }

    /// Limits each pause within the answer's body. Default: 30 s.
    #[must_use]
    pub fn between_bytes_timeout(mut self, limit: Duration) -> Self {
        self.between_bytes_timeout = limit;
        self
    }

    /// Limits the answer's body; a longer one is an error. Default: 16 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sends a request so many times at most, while there is no answer ([`Error::is_transient`]) or it is 408,
    /// 429, 502, 503 or 504. Default: once.
    ///
    /// It waits 0.5 s, 1 s, 2 s and so on in between, or as long as `retry-after` says, at most 30 s. A request
    /// that got no answer may have been carried out: retry what can be repeated safely.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Gives up with [`Error::Cancelled`] soon after the step is cancelled. Only for step types.
    #[must_use]
    pub fn cancellable(mut self, _: &StepContext) -> Self {
        self.cancelled = Some(Question(crate::host::cancelled));
        self
    }

    /// Whether a request is to be given up.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|question| (question.0)())
    }

    /// Sends a request and reads the whole answer. Any status is an answer: see
    /// [`Response::error_for_status`].
    // By value: a request is sent once, and its body may be large.
    #[allow(clippy::needless_pass_by_value)]
    pub fn send(&self, request: Request) -> Result<Response, Error> {
        let answer = crate::host::send(self, &request);
        self.persist(&request, answer)
    }

    /// Sends requests and reads their answers, which are in the order of the requests. Up to 16 are under way at
    /// once, so that many small ones take little longer than a few.
    ///
    /// All are carried out, also when one of them fails. Those that are to be sent again (see
    /// [`attempts`](Self::attempts)) are so one after the other.
    // By value, as for `send`.
    #[allow(clippy::needless_pass_by_value)]
    pub fn send_all(&self, requests: Vec<Request>) -> Vec<Result<Response, Error>> {
        let answers = crate::host::send_all(self, &requests, AT_ONCE);
        requests.iter().zip(answers).map(|(request, answer)| self.persist(request, answer)).collect()
    }

    /// Sends a request again for as long as its answer asks for it.
    fn persist(&self, request: &Request, mut answer: Result<Response, Error>) -> Result<Response, Error> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..self.attempts {
            let asked = match &answer {
                Ok(answer) if matches!(answer.status(), 408 | 429 | 502..=504) => answer.retry_after(),
                Err(error) if error.is_transient() => None,
                Ok(_) | Err(_) => break,
            };
            crate::host::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
            pause *= 2;
            answer = crate::host::send(self, request);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::mock;

    /// How many times a request is sent that gets these answers, and what comes of it.
    fn sent(answers: &[Result<u16, Error>]) -> (usize, Result<u16, Error>) {
        mock::reset();
        let mut answers: VecDeque<_> = answers.iter().cloned().collect();
        mock::on_http(move |_| answers.pop_front().unwrap_or(Ok(418)).map(Response::new));
        let answer = Client::new().attempts(3).send(Request::get("https://a.example"));
        (mock::requests().len(), answer.map(|answer| answer.status()))
    }

    #[test]
    fn what_may_work_later_is_sent_again() {
        let (gone, refused) =
            (|| Err(Error::Unreachable("gone".into())), || Err(Error::Protocol("refused".into())));
        assert_eq!(sent(&[Ok(200)]), (1, Ok(200)));
        assert_eq!(sent(&[Ok(503), gone(), Ok(200)]), (3, Ok(200)));
        assert_eq!(sent(&[Ok(429), Ok(404)]), (2, Ok(404)));
        assert_eq!(sent(&[gone(), refused()]), (2, refused()));
        assert_eq!(sent(&[gone(), Ok(502), gone(), Ok(200)]), (3, gone()));
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        mock::reset();
        let mut busy = true;
        mock::on_http(move |request| {
            let is_late = request.url().ends_with("/b") && std::mem::take(&mut busy);
            Ok(Response::new(if is_late { 503 } else { 200 }).body(request.url()))
        });
        let requests = ["a", "b", "c"].map(|path| Request::get(format!("https://a.example/{path}")));
        let answers = Client::new().attempts(2).send_all(requests.to_vec());
        let answers: Vec<_> = answers.into_iter().flatten().map(|answer| answer.bytes().to_vec()).collect();
        assert_eq!(answers, ["a", "b", "c"].map(|path| format!("https://a.example/{path}").into_bytes()));
        assert_eq!(mock::requests().len(), 4);
    }
}
