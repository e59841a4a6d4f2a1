//! What is true of every build, on builds made at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    simulation::{Condition, Happening, Plan, StepPlanned},
    *,
};

fn seconds(range: Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        2 => Just(Outcome::Failure),
        1 => Just(Outcome::Error),
        // A plugin may say so.
        1 => Just(Outcome::Cancellation),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::Success),
        3 => Just(Condition::Failure),
        2 => Just(Condition::Always),
        2 => Just(Condition::Cancelled),
        1 => Just(Condition::Broken),
    ]
}

/// A step without its place, on which its conditions' ranges and its needs depend.
type Loose = (StepPlanned, Vec<Option<(usize, usize)>>, Vec<usize>);

fn step() -> impl Strategy<Value = Loose> {
    let conditions = prop_oneof![
        1 => Just(Vec::new()),
        1 => proptest::collection::vec((condition(), proptest::option::of((0_usize..12, 0_usize..12))), 1..3),
    ];
    let retry = (
        1_u32..4,
        seconds(0..4),
        0..3,
        proptest::sample::subsequence(vec![Outcome::Failure, Outcome::Timeout, Outcome::Error], 0..=3),
    );
    let retry = retry.prop_map(|(attempts, delay, backoff, on)| Retry {
        attempts,
        delay,
        backoff: f64::from(backoff),
        on,
    });
    (
        conditions,
        retry,
        proptest::option::weighted(0.3, seconds(1..6)),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.1),
        proptest::collection::vec((outcome(), seconds(0..8)), 1..4),
        seconds(0..15),
        proptest::collection::vec(0_usize..12, 0..4),
    )
        .prop_map(|(conditions, retry, timeout, continue_on_error, out, attempts, stops_in, needs)| {
            let (conditions, ranges): (_, Vec<_>) = conditions.into_iter().unzip();
            let left_out = out.then(LeftOut::default);
            let spec = StepSpec { timeout, retry, continue_on_error, left_out, ..spec(0, &[]) };
            (StepPlanned { spec, conditions, attempts, stops_in }, ranges, needs)
        })
}

fn plan() -> impl Strategy<Value = Plan> {
    let options = (1_usize..5, any::<bool>(), proptest::option::weighted(0.3, seconds(1..30)));
    let options = options.prop_map(|(jobs, fail_fast, timeout)| Options { jobs, fail_fast, timeout });
    let signals = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec(seconds(0..30), 1..4),
    ];
    (options, proptest::collection::vec(step(), 1..12), signals).prop_map(|(options, steps, signals)| {
        let place = |(at, (mut step, ranges, needs)): (usize, Loose)| {
            let needs: BTreeSet<_> =
                needs.into_iter().filter(|_| at > 0).map(|need| need % at.max(1)).collect();
            step.spec.name = format!("s{at}").into();
            step.spec.needs = needs.into_iter().collect();
            step.spec.conditions = ranges
                .into_iter()
                .map(|range| range.map(|(from, to): (usize, usize)| from.min(to)..from.max(to)))
                .collect();
            step
        };
        Plan { options, steps: steps.into_iter().enumerate().map(place).collect(), signals }
    })
}

/// All that a step needs, directly or through others.
fn before(plan: &Plan, step: StepIndex) -> BTreeSet<StepIndex> {
    let mut all = BTreeSet::new();
    let mut open = plan.steps[step].spec.needs.clone();
    while let Some(next) = open.pop() {
        if all.insert(next) {
            open.extend(&plan.steps[next].spec.needs);
        }
    }
    all
}

/// Looks at what happened in its order.
struct Watch<'a> {
    plan: &'a Plan,
    ended: Vec<Option<StepFinished>>,
    running: BTreeSet<StepIndex>,
    attempts: Vec<u32>,
    /// When a retry may start.
    again_at: Vec<Duration>,
    /// How often the build was asked to stop.
    stops: usize,
    /// Those whose last attempt was asked to stop.
    stopped: BTreeSet<StepIndex>,
    failed_fast: bool,
    /// Those that ran when the first failure stopped all: nothing of them is tried again.
    last: BTreeSet<StepIndex>,
    worst: Outcome,
    over: bool,
}

impl Watch<'_> {
    fn happened(&mut self, at: Duration, happening: &Happening) {
        assert!(!self.over, "something follows build.finished");
        match happening {
            Happening::Signal => self.stops += usize::from(self.stops > 0),
            Happening::Told(None, Body::BuildCancelling(_)) => {
                assert_eq!(self.stops, 0, "build.cancelling comes once");
                self.stops = 1;
            }
            Happening::Told(None, Body::BuildFinished(_)) => self.over = true,
            Happening::Asked(step, statuses) => self.asked(*step, statuses),
            Happening::Started(step) => self.started(*step, at),
            Happening::Stopped(step, _) => {
                assert!(self.running.contains(step));
                self.stopped.insert(*step);
            }
            Happening::Told(Some(step), Body::AttemptFinished(body)) => {
                assert!(self.running.remove(step));
                assert!(
                    body.retry_in_ms.is_none() || (self.stops == 0 && !self.last.contains(step)),
                    "nothing is tried again then"
                );
                self.again_at[*step] = at + Duration::from_millis(body.retry_in_ms.unwrap_or(u64::MAX >> 1));
            }
            Happening::Told(Some(step), Body::StepFinished(result)) => self.step_ended(*step, result),
            Happening::Told(..) => {}
        }
    }

    fn needs_are_decided(&self, step: StepIndex) {
        let needs = &self.plan.steps[step].spec.needs;
        assert!(needs.iter().all(|need| self.ended[*need].is_some()), "step {step} comes too early");
        assert!(self.ended[step].is_none(), "step {step} has ended");
    }

    fn conclusion(&self, step: StepIndex) -> Outcome {
        self.ended[step].as_ref().unwrap().conclusion
    }

    fn is_bad(&self, step: StepIndex) -> bool {
        !matches!(self.conclusion(step), Outcome::Success | Outcome::Skip)
    }

    /// What a condition is to see.
    fn status(&self, step: StepIndex, within: Option<&Range<StepIndex>>) -> Status {
        if self.stops > 0 {
            return Status { success: false, failure: false, cancelled: true };
        }
        let mut before = before(self.plan, step);
        before.retain(|step| within.is_none_or(|within| within.contains(step)));
        let success = !self.failed_fast && !before.iter().any(|step| self.is_bad(*step));
        let failed = [Outcome::Failure, Outcome::Timeout, Outcome::Error];
        let failure = before.iter().any(|step| failed.contains(&self.conclusion(*step)));
        Status { success, failure, cancelled: false }
    }

    fn asked(&mut self, step: StepIndex, statuses: &[StepStatus]) {
        self.needs_are_decided(step);
        assert!(self.stops < 2 && self.attempts[step] == 0);
        for (within, seen) in self.plan.steps[step].spec.conditions.iter().zip(statuses) {
            assert_eq!(seen.status, self.status(step, within.as_ref()), "step {step}");
            assert_eq!(seen.blame.is_none(), seen.status.success, "blame says why success() does not hold");
        }
    }

    fn started(&mut self, step: StepIndex, at: Duration) {
        self.needs_are_decided(step);
        assert!(self.stops < 2, "nothing starts after a second signal");
        assert!(self.running.insert(step), "step {step} runs already");
        assert!(self.running.len() <= self.plan.options.jobs);
        let spec = &self.plan.steps[step].spec;
        assert!(spec.left_out.is_none());
        if self.attempts[step] == 0 {
            assert!(!spec.conditions.is_empty() || self.status(step, None).success, "step {step} runs");
        } else {
            assert!(self.stops == 0 && at >= self.again_at[step]);
        }
        self.attempts[step] += 1;
        self.stopped.remove(&step);
        assert!(self.attempts[step] <= spec.retry.attempts);
    }

    fn step_ended(&mut self, step: StepIndex, result: &StepFinished) {
        self.needs_are_decided(step);
        assert!(!self.running.contains(&step));
        assert_eq!(result.attempts, self.attempts[step]);
        assert_eq!(result.reason.is_some(), result.attempts == 0);
        let StepPlanned { spec, conditions, .. } = &self.plan.steps[step];
        if result.outcome == Outcome::Skip && spec.left_out.is_none() && spec.conditions.is_empty() {
            assert!(!self.status(step, None).success, "step {step} is skipped without need");
        }
        if result.attempts == 0 && result.outcome != Outcome::Skip {
            assert!(result.outcome == Outcome::Error && conditions.contains(&Condition::Broken));
        }
        assert_eq!(result.flaky, result.outcome == Outcome::Success && result.attempts > 1);
        if result.conclusion != result.outcome {
            assert!(spec.continue_on_error && result.conclusion == Outcome::Success);
            assert_ne!(result.outcome, Outcome::Cancellation);
        }
        self.ended[step] = Some(result.clone());
        // One that was stopped for another one's failure does not count itself.
        let stopped = result.outcome == Outcome::Cancellation && self.stopped.contains(&step);
        if self.is_bad(step) && !stopped {
            self.worst = self.worst.max(result.conclusion);
            if self.plan.options.fail_fast && self.stops == 0 && !self.failed_fast {
                self.failed_fast = true;
                self.last = self.running.clone();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn every_build_keeps_the_rules(plan in plan()) {
        let past = plan.run();
        let count = plan.steps.len();
        let mut watch = Watch {
            plan: &plan,
            ended: vec![None; count],
            running: BTreeSet::new(),
            attempts: vec![0; count],
            again_at: vec![Duration::ZERO; count],
            stops: 0,
            stopped: BTreeSet::new(),
            failed_fast: false,
            last: BTreeSet::new(),
            worst: Outcome::Success,
            over: false,
        };
        for (at, happening) in &past.happenings {
            watch.happened(*at, happening);
        }
        prop_assert!(watch.over && watch.running.is_empty());
        prop_assert!(past.most_at_once <= plan.options.jobs);

        let results = past.results(count);
        for (step, result) in results.iter().enumerate() {
            prop_assert_eq!(past.attempts(step), (1..=result.attempts).collect::<Vec<_>>());
        }
        if watch.stops > 0 {
            let expected = match past.end.signal {
                Some(_) => Outcome::Cancellation,
                None => Outcome::Timeout,
            };
            prop_assert_eq!(past.end.outcome, expected);
        } else {
            prop_assert_eq!(past.end.outcome, watch.worst);
        }

        let build = past.replay(&plan);
        prop_assert_eq!(build.outcome, Some(past.end.outcome));
        prop_assert_eq!(build.steps.len(), count);
        for (step, result) in build.steps.iter().zip(&results) {
            prop_assert_eq!((step.outcome, step.conclusion), (Some(result.outcome), Some(result.conclusion)));
            prop_assert_eq!(step.attempts.len(), result.attempts as usize);
            let last = step.attempts.last().and_then(|attempt| attempt.outcome);
            prop_assert_eq!(last.unwrap_or(result.outcome), result.outcome);
        }
    }
}
