//! Whole courses of builds, to be read at a glance.

use super::*;

/// A build, and what became of it so far.
struct Course {
    state: State,
    now: Duration,
}

impl Course {
    fn new(options: Options, specs: Vec<StepSpec>) -> Self {
        Course { state: State::new(specs, options), now: Duration::ZERO }
    }

    fn start(options: Options, specs: Vec<StepSpec>) -> (Self, String) {
        let mut course = Course::new(options, specs);
        let words = course.take(Input::Start);
        (course, words)
    }

    /// Effects as short words; `attempt.started` is left out, as `start` says it.
    fn take(&mut self, input: Input) -> String {
        let effects = self.state.handle(input, self.now);
        effects.iter().filter_map(word).collect::<Vec<_>>().join(", ")
    }

    fn end(&mut self, step: StepIndex, outcome: Outcome) -> String {
        self.take(ended(step, outcome))
    }

    fn interrupt(&mut self) -> String {
        self.take(Input::Interrupt { signal: 2 })
    }

    /// Waits until the state wants to do something.
    fn tick(&mut self) -> String {
        self.now = self.state.deadline().unwrap();
        self.take(Input::Tick)
    }

    /// The step's conditions hold.
    fn run(&mut self, step: StepIndex) -> String {
        self.take(Input::Decided(step, Ok(None)))
    }
}

fn word(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Emit(Some(_), Body::AttemptStarted(_)) => return None,
        Effect::Emit(Some(step), Body::AttemptFinished(body)) => match body.retry_in_ms {
            Some(ms) => format!("{step}~{} again in {ms}", body.outcome),
            None => format!("{step}~{}", body.outcome),
        },
        Effect::Emit(Some(step), Body::StepFinished(body)) => {
            let conclusion =
                if body.outcome == body.conclusion { String::new() } else { format!("/{}", body.conclusion) };
            let reason = body.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            let flaky = if body.flaky { " flaky" } else { "" };
            format!("{step}={}{conclusion}{flaky}{reason}", body.outcome)
        }
        Effect::Emit(step, body) => {
            step.map_or_else(|| body.kind().to_owned(), |step| format!("{step}:{}", body.kind()))
        }
        Effect::Decide { step, statuses } => {
            let one = |status: &StepStatus| {
                let StepStatus { status: Status { success, failure, cancelled }, blame } = status;
                let words = [(success, "success"), (failure, "failure"), (cancelled, "cancelled")];
                let words: Vec<_> = words.iter().filter(|(is, _)| **is).map(|(_, word)| *word).collect();
                let blame = blame.as_ref().map_or_else(String::new, |blame| format!(" ({blame})"));
                format!("{}{blame}", words.join("+"))
            };
            format!("{step}? {}", statuses.iter().map(one).collect::<Vec<_>>().join(" | "))
        }
        Effect::Start { step, attempt } => format!("start {step}.{attempt}"),
        Effect::Stop(step, stop) => format!("{stop:?} {step}"),
        Effect::Finish(end) => match end.signal {
            Some(signal) => format!("finish {} by {signal}", end.outcome),
            None => format!("finish {}", end.outcome),
        },
    })
}

fn chain(steps: usize) -> Vec<StepSpec> {
    (0..steps).map(|step| spec(step, &step.checked_sub(1).into_iter().collect::<Vec<_>>())).collect()
}

/// `if`, with what it is about.
fn with_if(within: &[Option<Range<StepIndex>>], spec: StepSpec) -> StepSpec {
    StepSpec { conditions: within.to_vec(), ..spec }
}

fn retried(attempts: u32, delay: u64, spec: StepSpec) -> StepSpec {
    let retry = Retry { attempts, delay: Duration::from_secs(delay), backoff: 2.0, ..Retry::default() };
    StepSpec { retry, ..spec }
}

#[test]
fn a_step_runs_after_what_it_needs_and_jobs_bound_the_rest() {
    let (mut course, words) = Course::start(
        OPTIONS,
        vec![spec(0, &[]), spec(1, &[]), spec(2, &[]), spec(3, &[1]), spec(4, &[2, 3])],
    );
    assert_eq!(words, "start 0.1, start 1.1");
    assert_eq!(course.end(1, Outcome::Success), "1~success, 1=success, start 2.1");
    assert_eq!(course.end(2, Outcome::Success), "2~success, 2=success, start 3.1");
    assert_eq!(course.end(3, Outcome::Success), "3~success, 3=success, start 4.1");
    assert_eq!(course.end(0, Outcome::Success), "0~success, 0=success");
    assert_eq!(course.end(4, Outcome::Success), "4~success, 4=success, build.finished, finish success");
}

#[test]
fn after_a_failure_only_what_needs_it_is_skipped() {
    for outcome in [Outcome::Failure, Outcome::Error, Outcome::Timeout] {
        let (mut course, _) = Course::start(
            OPTIONS,
            vec![spec(0, &[]), spec(1, &[]), spec(2, &[0]), spec(3, &[1]), spec(4, &[2])],
        );
        assert_eq!(
            course.end(0, outcome),
            format!(
                "0~{outcome}, 0={outcome}, 2=skip (step `s0` ended in {outcome}), \
                 4=skip (step `s0` ended in {outcome})"
            )
        );
        assert_eq!(course.end(1, Outcome::Success), "1~success, 1=success, start 3.1");
        assert_eq!(
            course.end(3, Outcome::Success),
            format!("3~success, 3=success, build.finished, finish {outcome}")
        );
    }
}

#[test]
fn conditions_are_asked_with_what_they_are_about() {
    let (mut course, _) = Course::start(
        OPTIONS,
        vec![
            spec(0, &[]),
            spec(1, &[0]),
            spec(2, &[1]),
            with_if(&[None, Some(0..1), Some(1..3)], spec(3, &[2])),
            spec(4, &[3]),
        ],
    );
    assert_eq!(
        course.end(0, Outcome::Failure),
        "0~failure, 0=failure, 1=skip (step `s0` ended in failure), 2=skip (step `s0` ended in failure), \
         3? failure (step `s0` ended in failure) | failure (step `s0` ended in failure) | success"
    );
    assert_eq!(course.run(3), "start 3.1");
    // What ran in spite of a failure heals nothing.
    assert_eq!(
        course.end(3, Outcome::Success),
        "3~success, 3=success, 4=skip (step `s0` ended in failure), build.finished, finish failure"
    );
}

#[test]
fn a_second_failure_does_not_hide_the_first() {
    let asks = |within, spec| with_if(&[within], spec);
    let specs = vec![spec(0, &[]), asks(None, spec(1, &[0])), asks(Some(0..1), spec(2, &[1]))];
    let (mut course, _) = Course::start(OPTIONS, specs);
    let _ = course.end(0, Outcome::Failure);
    assert_eq!(course.run(1), "start 1.1");
    assert_eq!(course.end(1, Outcome::Error), "1~error, 1=error, 2? failure (step `s0` ended in failure)");
}

#[test]
fn a_condition_that_has_no_value_is_an_error_of_its_step() {
    let specs = vec![with_if(&[None], spec(0, &[])), spec(1, &[0])];
    let (mut course, words) = Course::start(OPTIONS, specs);
    assert_eq!(words, "0? success");
    assert_eq!(
        course.take(Input::Decided(0, Err(Problem::new("`1 +` is no condition", "write one")))),
        "0=error (`1 +` is no condition (help: write one)), 1=skip (step `s0` ended in error), \
         build.finished, finish error"
    );
}

#[test]
fn a_condition_that_does_not_hold_is_neutral() {
    let (mut course, _) = Course::start(OPTIONS, vec![with_if(&[None], spec(0, &[])), spec(1, &[0])]);
    assert_eq!(course.take(Input::Decided(0, Ok(Some("not today".into())))), "0=skip (not today), start 1.1");
    assert_eq!(course.end(1, Outcome::Success), "1~success, 1=success, build.finished, finish success");
}

#[test]
fn what_is_left_out_is_neutral_and_gives_its_outputs() {
    let outputs = BTreeMap::from([("tag".to_owned(), "v1".into())]);
    let left_out = LeftOut { attempts: 0, reason: "left out by --only".into(), outputs: outputs.clone() };
    let out = StepSpec { left_out: Some(left_out), ..with_if(&[None], spec(0, &[])) };
    let mut state = State::new(vec![out, spec(1, &[0])], OPTIONS);
    let effects = state.handle(Input::Start, SECOND);
    assert_eq!(
        effects.iter().filter_map(word).collect::<Vec<_>>(),
        ["0=skip (left out by --only)", "start 1.1"]
    );
    let Effect::Emit(Some(0), Body::StepFinished(result)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(result.outputs, outputs);
}

#[test]
fn a_forgiven_failure_does_not_count() {
    let forgiven = StepSpec { continue_on_error: true, ..spec(0, &[]) };
    let (mut course, _) = Course::start(OPTIONS, vec![forgiven, spec(1, &[0])]);
    assert_eq!(course.end(0, Outcome::Failure), "0~failure, 0=failure/success, start 1.1");
    assert_eq!(course.end(1, Outcome::Success), "1~success, 1=success, build.finished, finish success");
}

#[test]
fn a_retry_waits_without_a_job_and_a_later_success_is_flaky() {
    let options = Options { jobs: 1, ..OPTIONS };
    let specs = vec![retried(3, 5, spec(0, &[])), spec(1, &[]), spec(2, &[0])];
    let (mut course, _) = Course::start(options, specs);
    assert_eq!(course.end(0, Outcome::Failure), "0~failure again in 5000, start 1.1");
    assert_eq!(course.state.deadline(), Some(5 * SECOND));
    // Its time has come, but no job is free; then it goes before later ones.
    assert_eq!(course.tick(), "");
    assert_eq!(course.state.deadline(), None);
    assert_eq!(course.end(1, Outcome::Success), "1~success, 1=success, start 0.2");
    assert_eq!(course.end(0, Outcome::Error), "0~error again in 10000");
    assert_eq!(course.tick(), "start 0.3");
    assert_eq!(course.end(0, Outcome::Success), "0~success, 0=success flaky, start 2.1");
}

#[test]
fn attempts_end() {
    let (mut course, _) = Course::start(OPTIONS, vec![retried(2, 0, spec(0, &[]))]);
    assert_eq!(course.end(0, Outcome::Failure), "0~failure again in 0, start 0.2");
    assert_eq!(course.end(0, Outcome::Failure), "0~failure, 0=failure, build.finished, finish failure");
}

#[test]
fn a_timeout_asks_then_kills_and_each_attempt_has_its_own() {
    let step = StepSpec { timeout: Some(5 * SECOND), ..retried(2, 1, spec(0, &[])) };
    let (mut course, _) = Course::start(OPTIONS, vec![step]);
    assert_eq!(course.state.deadline(), Some(5 * SECOND));
    assert_eq!(course.tick(), "Grace 0");
    assert_eq!(course.state.deadline(), Some(15 * SECOND));
    assert_eq!(course.tick(), "Kill 0");
    assert_eq!(course.state.deadline(), None);
    assert_eq!(course.end(0, Outcome::Failure), "0~timeout again in 1000");
    assert_eq!(course.tick(), "start 0.2");
    assert_eq!(course.state.deadline(), Some(21 * SECOND));
    assert_eq!(course.tick(), "Grace 0");
    assert_eq!(course.end(0, Outcome::Success), "0~timeout, 0=timeout, build.finished, finish timeout");
}

#[test]
fn the_first_interrupt_asks_and_the_second_kills() {
    let mut specs = chain(3);
    specs[1] = with_if(&[None], spec(1, &[0]));
    let (mut course, _) = Course::start(OPTIONS, specs.clone());
    assert_eq!(course.interrupt(), "build.cancelling, Grace 0");
    assert_eq!(course.state.deadline(), Some(10 * SECOND));
    assert_eq!(
        course.end(0, Outcome::Success),
        "0~cancellation, 0=cancellation, 1? cancelled (the build was cancelled)"
    );
    // It cleans up, and that can be stopped, too.
    assert_eq!(course.run(1), "start 1.1");
    assert_eq!(course.state.deadline(), None);
    assert_eq!(course.interrupt(), "Kill 1");
    assert_eq!(
        course.end(1, Outcome::Failure),
        "1~cancellation, 1=cancellation, 2=skip (the build was cancelled), build.finished, \
         finish cancellation by 2"
    );

    let (mut course, _) = Course::start(OPTIONS, specs);
    assert_eq!(course.interrupt(), "build.cancelling, Grace 0");
    assert_eq!(course.interrupt(), "Kill 0");
    assert_eq!(
        course.end(0, Outcome::Failure),
        "0~cancellation, 0=cancellation, 1=skip (the build was cancelled), \
         2=skip (the build was cancelled), build.finished, finish cancellation by 2"
    );
}

#[test]
fn without_its_lock_what_runs_is_asked_to_stop_and_nothing_cleans_up() {
    let lost = || Input::Cancel { reason: "the lock is lost".into() };
    let specs = || vec![spec(0, &[]), with_if(&[None], retried(2, 0, spec(1, &[0]))), spec(2, &[])];
    let (mut course, _) = Course::start(OPTIONS, specs());
    let effects = course.state.handle(lost(), course.now);
    assert!(
        matches!(&effects[0], Effect::Emit(None, Body::BuildCancelling(told))
            if told.signal.is_none() && told.reason.as_deref() == Some("the lock is lost")),
        "{effects:?}"
    );
    assert_eq!(
        effects.iter().filter_map(word).collect::<Vec<_>>().join(", "),
        "build.cancelling, Grace 0, Grace 2"
    );
    assert_eq!(course.state.deadline(), Some(10 * SECOND));
    assert_eq!(course.take(lost()), "", "it is lost once");
    assert_eq!(
        course.end(0, Outcome::Failure),
        "0~cancellation, 0=cancellation, 1=skip (the build lost its lock)"
    );
    assert_eq!(course.tick(), "Kill 2");
    assert_eq!(
        course.end(2, Outcome::Failure),
        "2~cancellation, 2=cancellation, build.finished, finish error"
    );

    // The first cause counts, and a signal that follows stops at once.
    let (mut course, _) = Course::start(OPTIONS, specs());
    assert_eq!(course.interrupt(), "build.cancelling, Grace 0, Grace 2");
    assert_eq!(course.take(lost()), "");
    let (mut course, _) = Course::start(OPTIONS, specs());
    assert_eq!(course.take(lost()), "build.cancelling, Grace 0, Grace 2");
    assert_eq!(course.interrupt(), "Kill 0, Kill 2");
}

#[test]
fn a_signal_before_the_start_skips_all() {
    let mut course = Course::new(OPTIONS, chain(2));
    assert_eq!(course.interrupt(), "build.cancelling");
    assert_eq!(
        course.take(Input::Start),
        "0=skip (the build was cancelled), 1=skip (the build was cancelled), build.finished, \
         finish cancellation by 2"
    );

    // With a second one not even what cleans up starts.
    let cleans = || vec![spec(0, &[]), with_if(&[None], spec(1, &[0]))];
    let mut course = Course::new(OPTIONS, cleans());
    assert_eq!(course.interrupt(), "build.cancelling");
    assert_eq!(
        course.take(Input::Start),
        "0=skip (the build was cancelled), 1? cancelled (the build was cancelled)"
    );
    let mut course = Course::new(OPTIONS, cleans());
    assert_eq!(course.interrupt(), "build.cancelling");
    assert_eq!(course.interrupt(), "");
    assert_eq!(
        course.take(Input::Start),
        "0=skip (the build was cancelled), 1=skip (the build was cancelled), build.finished, \
         finish cancellation by 2"
    );
}

#[test]
fn cancelling_ends_a_wait_for_the_next_attempt() {
    let (mut course, _) = Course::start(OPTIONS, vec![retried(2, 60, spec(0, &[])), spec(1, &[])]);
    assert_eq!(course.end(0, Outcome::Failure), "0~failure again in 60000");
    assert_eq!(course.interrupt(), "build.cancelling, 0=failure, Grace 1");
    assert_eq!(
        course.end(1, Outcome::Failure),
        "1~cancellation, 1=cancellation, build.finished, finish cancellation by 2"
    );
}

#[test]
fn the_builds_timeout_stops_it_and_cleaning_up_still_runs() {
    let options = Options { timeout: Some(30 * SECOND), ..OPTIONS };
    let forgiven = StepSpec { continue_on_error: true, ..retried(2, 0, spec(0, &[])) };
    let (mut course, _) =
        Course::start(options, vec![forgiven, with_if(&[None], spec(1, &[0])), spec(2, &[1])]);
    assert_eq!(course.state.deadline(), Some(30 * SECOND));
    assert_eq!(course.tick(), "build.cancelling, Grace 0");
    assert_eq!(course.tick(), "Kill 0");
    assert_eq!(
        course.end(0, Outcome::Failure),
        "0~timeout, 0=timeout, 1? cancelled (the build's time was over)"
    );
    assert_eq!(course.run(1), "start 1.1");
    assert_eq!(
        course.end(1, Outcome::Success),
        "1~success, 1=success, 2=skip (the build's time was over), build.finished, finish timeout"
    );
}

#[test]
fn fail_fast_stops_the_rest_but_for_what_has_conditions() {
    let options = Options { jobs: 3, fail_fast: true, ..OPTIONS };
    let (mut course, _) = Course::start(
        options,
        vec![
            spec(0, &[]),
            spec(1, &[]),
            retried(2, 60, spec(2, &[])),
            spec(3, &[]),
            with_if(&[None], spec(4, &[1])),
            with_if(&[None], spec(5, &[0])),
        ],
    );
    assert_eq!(course.end(2, Outcome::Failure), "2~failure again in 60000, start 3.1");
    assert_eq!(course.end(3, Outcome::Success), "3~success, 3=success");
    assert_eq!(
        course.end(0, Outcome::Error),
        "0~error, 0=error, Grace 1, 2=failure, 5? failure (step `s0` ended in error)"
    );
    assert_eq!(course.run(5), "start 5.1");
    // It was stopped: that is neither a success nor a failure.
    assert_eq!(
        course.end(1, Outcome::Failure),
        "1~cancellation, 1=cancellation, 4?  (step `s1` ended in cancellation)"
    );
    assert_eq!(course.take(Input::Decided(4, Ok(Some("no".into())))), "4=skip (no)");
    assert_eq!(course.end(5, Outcome::Success), "5~success, 5=success, build.finished, finish error");
}

#[test]
fn fail_fast_tries_nothing_again_that_was_running() {
    let options = Options { fail_fast: true, ..OPTIONS };
    let slow = StepSpec { timeout: Some(5 * SECOND), ..retried(2, 0, spec(1, &[])) };
    let (mut course, _) = Course::start(options, vec![spec(0, &[]), slow]);
    assert_eq!(course.tick(), "Grace 1");
    assert_eq!(course.end(0, Outcome::Failure), "0~failure, 0=failure");
    assert_eq!(course.end(1, Outcome::Failure), "1~timeout, 1=timeout, build.finished, finish timeout");
}

#[test]
fn fail_fast_starts_nothing_that_asks_for_success() {
    let options = Options { jobs: 1, fail_fast: true, ..OPTIONS };
    let (mut course, _) =
        Course::start(options, vec![spec(0, &[]), spec(1, &[]), with_if(&[None], spec(2, &[]))]);
    assert_eq!(
        course.end(0, Outcome::Failure),
        "0~failure, 0=failure, 1=skip (step `s0` ended in failure, and `--fail-fast` stops the build then), \
         2?  (step `s0` ended in failure, and `--fail-fast` stops the build then)"
    );
}

#[test]
fn the_worst_conclusion_is_the_builds() {
    let (mut course, _) = Course::start(OPTIONS, vec![spec(0, &[]), spec(1, &[])]);
    let _ = course.end(0, Outcome::Error);
    assert_eq!(course.end(1, Outcome::Failure), "1~failure, 1=failure, build.finished, finish error");
}

#[test]
fn while_a_person_looks_no_time_runs() {
    let options = Options { timeout: Some(30 * SECOND), ..OPTIONS };
    let timed = |step| StepSpec { timeout: Some(10 * SECOND), ..spec(step, &[]) };
    let mut state = State::new(vec![timed(0), timed(1)], options);
    let _ = state.handle(Input::Start, SECOND);
    assert_eq!(state.deadline(), Some(11 * SECOND));
    let _ = state.handle(Input::Held(0), 2 * SECOND);
    let _ = state.handle(Input::Held(1), 5 * SECOND);
    assert_eq!(state.deadline(), None, "neither theirs nor the build's");
    assert_eq!(state.handle(Input::Tick, 100 * SECOND), []);
    let effects = state.handle(ended(0, Outcome::Failure), 102 * SECOND);
    let Effect::Emit(_, Body::AttemptFinished(end)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!((end.outcome, end.duration_ms), (Outcome::Failure, 1000), "the look does not count");
    assert_eq!(state.deadline(), None);
    // Whoever interrupts the look changes nothing of what was seen.
    let _ = state.handle(Input::Interrupt { signal: 2 }, 202 * SECOND);
    let effects = state.handle(ended(1, Outcome::Failure), 202 * SECOND);
    let Effect::Emit(_, Body::AttemptFinished(end)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(end.outcome, Outcome::Failure);

    let mut state = State::new(vec![spec(0, &[]), spec(1, &[])], options);
    let _ = state.handle(Input::Start, SECOND);
    let _ = state.handle(Input::Held(0), 2 * SECOND);
    let _ = state.handle(ended(0, Outcome::Failure), 102 * SECOND);
    assert_eq!(state.deadline(), Some(131 * SECOND), "the build has the time that it had");
}
