//! Two steps of which the second needs the first: every combination of how the first ends, what the second asks
//! for, what is forgiven, what is tried again and when the build is cancelled, against the rules as
//! `docs/pipeline.md` has them.

use super::{
    simulation::{Condition, Past, Plan, StepPlanned},
    *,
};

/// How long each attempt takes, each wait between two, and everything else.
const TAKES: Duration = Duration::from_secs(10);

/// How the first step's attempts end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Ends(Outcome),
    LeftOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    Once,
    /// The second attempt succeeds.
    ToSuccess,
    /// The second attempt ends as the first.
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancelled {
    Never,
    BeforeTheStart,
    DuringTheFirst,
    /// While it waits for its second attempt.
    BetweenAttempts,
    /// When the first is decided, and the second waits for a job that a third step holds.
    BeforeTheSecond,
    DuringTheSecond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Signal,
    Timeout,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    first: First,
    /// `None`: the second step has no `if`.
    asks: Option<Condition>,
    forgiven: bool,
    tries: Tries,
    cancelled: Cancelled,
    by: By,
}

/// What the rules say.
#[derive(Debug, PartialEq)]
struct Expected {
    first: (Outcome, Outcome, u32, bool),
    second: (Outcome, Outcome),
    build: BuildEnd,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        let firsts = [Outcome::Success, Outcome::Failure, Outcome::Timeout, Outcome::Error].map(First::Ends);
        let asks = [Condition::Success, Condition::Failure, Condition::Always, Condition::Cancelled];
        let mut cases = Vec::new();
        for first in firsts.into_iter().chain([First::LeftOut]) {
            for asks in asks.map(Some).into_iter().chain([None]) {
                for forgiven in [false, true] {
                    for tries in [Tries::Once, Tries::ToSuccess, Tries::Exhausted] {
                        for cancelled in [
                            Cancelled::Never,
                            Cancelled::BeforeTheStart,
                            Cancelled::DuringTheFirst,
                            Cancelled::BetweenAttempts,
                            Cancelled::BeforeTheSecond,
                            Cancelled::DuringTheSecond,
                        ] {
                            for by in [By::Signal, By::Timeout] {
                                cases.push(Case { first, asks, forgiven, tries, cancelled, by });
                            }
                        }
                    }
                }
            }
        }
        cases.into_iter().filter(|case| case.can_be())
    }

    fn can_be(self) -> bool {
        let runs = self.first != First::LeftOut;
        match self.cancelled {
            Cancelled::Never | Cancelled::BeforeTheStart => self.by == By::Signal,
            Cancelled::DuringTheFirst => runs,
            Cancelled::BetweenAttempts => self.tried_again(),
            Cancelled::BeforeTheSecond | Cancelled::DuringTheSecond => true,
        }
    }

    fn tried_again(self) -> bool {
        self.tries != Tries::Once && matches!(self.first, First::Ends(outcome) if outcome != Outcome::Success)
    }

    /// The rules.
    fn expected(self) -> Expected {
        let stopped = match self.by {
            By::Signal => Outcome::Cancellation,
            By::Timeout => Outcome::Timeout,
        };
        let forgiven = |outcome| if self.forgiven { Outcome::Success } else { outcome };
        let first = match (self.first, self.cancelled) {
            (First::LeftOut, _) | (_, Cancelled::BeforeTheStart) => (Outcome::Skip, Outcome::Skip, 0, false),
            // Being stopped is never forgiven.
            (_, Cancelled::DuringTheFirst) => (stopped, stopped, 1, false),
            (First::Ends(outcome), Cancelled::BetweenAttempts) => (outcome, forgiven(outcome), 1, false),
            (First::Ends(Outcome::Success), _) => (Outcome::Success, Outcome::Success, 1, false),
            (First::Ends(outcome), _) => match self.tries {
                Tries::Once => (outcome, forgiven(outcome), 1, false),
                Tries::Exhausted => (outcome, forgiven(outcome), 2, false),
                Tries::ToSuccess => (Outcome::Success, Outcome::Success, 2, true),
            },
        };
        let cancelled_before = !matches!(self.cancelled, Cancelled::Never | Cancelled::DuringTheSecond);
        let first_is_good = matches!(first.1, Outcome::Success | Outcome::Skip);
        let runs = match self.asks {
            None | Some(Condition::Success) => !cancelled_before && first_is_good,
            Some(Condition::Failure) => !cancelled_before && !first_is_good,
            Some(Condition::Cancelled) => cancelled_before,
            Some(Condition::Always) => true,
            Some(Condition::Broken) => unreachable!(),
        };
        let stopped_in_second = runs && self.cancelled == Cancelled::DuringTheSecond;
        let second = match (runs, stopped_in_second) {
            (false, _) => Outcome::Skip,
            (true, true) => stopped,
            (true, false) => Outcome::Success,
        };
        let build = if cancelled_before || stopped_in_second {
            BuildEnd { outcome: stopped, signal: (self.by == By::Signal).then_some(15) }
        } else {
            let outcome = if first_is_good { Outcome::Success } else { first.1 };
            BuildEnd { outcome, signal: None }
        };
        Expected { first, second: (second, second), build }
    }

    fn plan(self) -> Plan {
        let (outcome, left_out) = match self.first {
            First::Ends(outcome) => (outcome, None),
            First::LeftOut => (Outcome::Success, Some(LeftOut::default())),
        };
        // A timeout is nothing that a process says: it runs until its time is over.
        let times_out = outcome == Outcome::Timeout;
        let again = (self.tries == Tries::ToSuccess).then_some((Outcome::Success, 9 * SECOND));
        let first = StepPlanned {
            spec: StepSpec {
                timeout: times_out.then_some(TAKES),
                retry: Retry {
                    attempts: if self.tries == Tries::Once { 1 } else { 2 },
                    delay: TAKES,
                    ..Retry::default()
                },
                continue_on_error: self.forgiven,
                left_out,
                ..spec(0, &[])
            },
            conditions: Vec::new(),
            attempts: [(outcome, if times_out { 2 * TAKES } else { TAKES })]
                .into_iter()
                .chain(again)
                .collect(),
            stops_in: Duration::ZERO,
        };
        let simple = |spec, conditions: Vec<Condition>| StepPlanned {
            spec: StepSpec { conditions: vec![None; conditions.len()], ..spec },
            conditions,
            attempts: vec![(Outcome::Success, TAKES)],
            stops_in: Duration::ZERO,
        };
        let mut steps = vec![first];
        if self.cancelled == Cancelled::BeforeTheSecond {
            steps.push(simple(spec(1, &[0]), vec![Condition::Always]));
        }
        steps.push(simple(spec(steps.len(), &[0]), self.asks.into_iter().collect()));

        let decided = match (self.first, self.tried_again()) {
            (First::LeftOut, _) => Duration::ZERO,
            (First::Ends(_), true) => 3 * TAKES,
            (First::Ends(_), false) => TAKES,
        };
        let at = match self.cancelled {
            Cancelled::Never => None,
            Cancelled::BeforeTheStart => Some(Duration::ZERO),
            Cancelled::DuringTheFirst => Some(TAKES / 2),
            Cancelled::BetweenAttempts => Some(TAKES * 3 / 2),
            Cancelled::BeforeTheSecond | Cancelled::DuringTheSecond => Some(decided + TAKES / 2),
        };
        let (signals, timeout) = match self.by {
            By::Signal => (at.into_iter().collect(), None),
            By::Timeout => (Vec::new(), at),
        };
        Plan { options: Options { jobs: 1, fail_fast: false, timeout }, steps, signals }
    }
}

fn seen(past: &Past, steps: usize) -> Expected {
    let results = past.results(steps);
    let (first, second) = (&results[0], &results[steps - 1]);
    Expected {
        first: (first.outcome, first.conclusion, first.attempts, first.flaky),
        second: (second.outcome, second.conclusion),
        build: past.end,
    }
}

#[test]
fn two_steps_end_as_the_rules_say() {
    let mut cases = 0;
    for case in Case::all() {
        let plan = case.plan();
        assert_eq!(seen(&plan.run(), plan.steps.len()), case.expected(), "{case:?}");
        cases += 1;
    }
    // None is missing.
    assert_eq!(cases, 1_260);
}
