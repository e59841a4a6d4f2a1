//! A world for the state: steps that take their time and end as they were told to.

use std::collections::BTreeMap;

use super::*;
use crate::{
    build::Build,
    chain::Hash,
    event::{AttemptStarted, BuildStarted, Event, StepPlan},
};

/// What a step's `if` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Success,
    Failure,
    Always,
    Cancelled,
    /// It has no value.
    Broken,
}

impl Condition {
    fn answer(self, seen: &StepStatus) -> Result<Option<String>, Problem> {
        let holds = match self {
            Condition::Success => seen.status.success,
            Condition::Failure => seen.status.failure,
            Condition::Always => true,
            Condition::Cancelled => seen.status.cancelled,
            Condition::Broken => return Err(Problem::new("no value", "give it one")),
        };
        Ok((!holds).then(|| "its condition does not hold".to_owned()))
    }
}

/// A build to be, with all that happens in it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) steps: Vec<StepPlanned>,
    /// When somebody wants the build to stop.
    pub(super) signals: Vec<Duration>,
}

#[derive(Clone, Debug)]
pub(super) struct StepPlanned {
    pub(super) spec: StepSpec,
    /// One for each of the spec's conditions.
    pub(super) conditions: Vec<Condition>,
    /// How each attempt ends by itself, and how long that takes; the last one counts for all that follow.
    pub(super) attempts: Vec<(Outcome, Duration)>,
    /// How long it takes to stop when it is asked to.
    pub(super) stops_in: Duration,
}

/// What happened, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    Told(Option<StepIndex>, Body),
    Asked(StepIndex, Vec<StepStatus>),
    Started(StepIndex),
    Stopped(StepIndex, Stop),
    Signal,
}

/// A build that was.
pub(super) struct Past {
    pub(super) happenings: Vec<(Duration, Happening)>,
    pub(super) end: BuildEnd,
    pub(super) most_at_once: usize,
}

struct Attempt {
    step: StepIndex,
    ends_at: Duration,
    outcome: Outcome,
}

impl Plan {
    /// Lets it happen.
    pub(super) fn run(&self) -> Past {
        let specs = self.steps.iter().map(|step| step.spec.clone()).collect();
        let mut world = World {
            plan: self,
            state: State::new(specs, self.options),
            now: Duration::ZERO,
            running: Vec::new(),
            happenings: Vec::new(),
            most_at_once: 0,
            end: None,
        };
        let mut signals = self.signals.clone();
        signals.sort();
        signals.reverse();
        // A signal at zero comes before the start.
        while signals.last().is_some_and(Duration::is_zero) {
            signals.pop();
            world.signal();
        }
        world.feed(Input::Start);
        for _ in 0..10_000 {
            if let Some(end) = world.end {
                let World { happenings, most_at_once, .. } = world;
                return Past { happenings, end, most_at_once };
            }
            world.step(&mut signals);
        }
        panic!("the build does not end: {:?}", world.happenings);
    }
}

struct World<'a> {
    plan: &'a Plan,
    state: State,
    now: Duration,
    running: Vec<Attempt>,
    happenings: Vec<(Duration, Happening)>,
    most_at_once: usize,
    end: Option<BuildEnd>,
}

impl World<'_> {
    /// The next thing happens. At the same time signals come first, then the clock, as in the dispatcher.
    fn step(&mut self, signals: &mut Vec<Duration>) {
        let signal = signals.last().copied();
        let tick = self.state.deadline();
        let ending = self.running.iter().map(|attempt| attempt.ends_at).min();
        let next = signal.into_iter().chain(tick).chain(ending).min();
        let Some(next) = next else { panic!("nothing can happen any more: {:?}", self.state) };
        self.now = self.now.max(next);
        if signal == Some(next) {
            signals.pop();
            self.signal();
        } else if tick == Some(next) {
            self.feed(Input::Tick);
            let again = self.state.deadline();
            assert!(again.is_none_or(|again| again > self.now), "{again:?} is over at {:?}", self.now);
        } else {
            let at = self.running.iter().position(|attempt| attempt.ends_at == next).unwrap();
            let attempt = self.running.remove(at);
            self.feed(ended(attempt.step, attempt.outcome));
        }
    }

    fn signal(&mut self) {
        self.note(Happening::Signal);
        self.feed(Input::Interrupt { signal: 15 });
    }

    fn note(&mut self, happening: Happening) {
        self.happenings.push((self.now, happening));
    }

    fn feed(&mut self, input: Input) {
        let effects = self.state.handle(input, self.now);
        for effect in effects {
            assert_eq!(self.end, None, "something follows the end");
            match effect {
                Effect::Emit(step, body) => self.note(Happening::Told(step, body)),
                Effect::Decide { step, statuses } => {
                    let conditions = &self.plan.steps[step].conditions;
                    assert_eq!(conditions.len(), statuses.len());
                    let answers = conditions.iter().zip(&statuses).map(|(is, seen)| is.answer(seen));
                    let answer = answers.collect::<Result<Vec<_>, _>>();
                    let answer = answer.map(|answers| answers.into_iter().flatten().next());
                    self.note(Happening::Asked(step, statuses));
                    self.feed(Input::Decided(step, answer));
                }
                Effect::Start { step, attempt } => {
                    self.note(Happening::Started(step));
                    let planned = &self.plan.steps[step];
                    let last = planned.attempts.len() - 1;
                    let (outcome, takes) = planned.attempts[last.min(attempt as usize - 1)];
                    self.running.push(Attempt { step, ends_at: self.now + takes, outcome });
                    self.most_at_once = self.most_at_once.max(self.running.len());
                }
                Effect::Stop(step, stop) => {
                    self.note(Happening::Stopped(step, stop));
                    let patience = match stop {
                        Stop::Grace => self.plan.steps[step].stops_in,
                        Stop::Kill => Duration::ZERO,
                    };
                    let running = self.running.iter_mut().find(|attempt| attempt.step == step);
                    let running = running.expect("only what runs is stopped");
                    running.ends_at = running.ends_at.min(self.now + patience);
                }
                Effect::Finish(end) => {
                    assert!(self.running.is_empty());
                    self.end = Some(end);
                }
            }
        }
    }
}

impl Past {
    fn told(&self) -> impl Iterator<Item = (Option<StepIndex>, &Body)> {
        self.happenings.iter().filter_map(|(_, happening)| match happening {
            Happening::Told(step, body) => Some((*step, body)),
            _ => None,
        })
    }

    /// Each step's one end.
    pub(super) fn results(&self, steps: usize) -> Vec<StepFinished> {
        let mut results = BTreeMap::new();
        for (step, body) in self.told() {
            if let (Some(step), Body::StepFinished(result)) = (step, body) {
                assert!(results.insert(step, result.clone()).is_none(), "step {step} ends twice");
            }
        }
        assert_eq!(results.len(), steps, "a step has no end");
        results.into_values().collect()
    }

    /// The numbers of the attempts that started.
    pub(super) fn attempts(&self, of: StepIndex) -> Vec<u32> {
        let attempts = self.told().filter_map(|(step, body)| match body {
            Body::AttemptStarted(AttemptStarted { attempt }) if step == Some(of) => Some(*attempt),
            _ => None,
        });
        attempts.collect()
    }

    /// What the events add up to for those who read them.
    pub(super) fn replay(&self, plan: &Plan) -> Build {
        let steps = plan
            .steps
            .iter()
            .map(|step| StepPlan { name: step.spec.name.to_string(), ..StepPlan::default() });
        let started = Body::BuildStarted(BuildStarted { steps: steps.collect(), ..BuildStarted::default() });
        let mut build = Build::default();
        let events = [(None, &started)].into_iter().chain(self.told());
        for (seq, (step, body)) in (0..).zip(events) {
            let step = step.map(|step| plan.steps[step].spec.name.clone());
            build.apply(&Event { seq, at: 0, step, body: body.clone(), hash: Hash::default() });
        }
        build
    }
}
