//! When to do the next thing about each step.

use std::{collections::BTreeSet, time::Duration};

use crate::engine::message::StepIndex;

/// One time for each step, or none.
#[derive(Debug)]
pub(super) struct Timers {
    times: Vec<Option<Duration>>,
    queue: BTreeSet<(Duration, StepIndex)>,
}

impl Timers {
    pub(super) fn new(steps: usize) -> Self {
        Timers { times: vec![None; steps], queue: BTreeSet::new() }
    }

    /// Sets the step's time, instead of the one that it had.
    pub(super) fn set(&mut self, step: StepIndex, time: Option<Duration>) {
        if let Some(old) = std::mem::replace(&mut self.times[step], time) {
            self.queue.remove(&(old, step));
        }
        self.queue.extend(time.map(|time| (time, step)));
    }

    /// The first time.
    pub(super) fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(time, _)| *time)
    }

    /// Takes the first step whose time has come.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<StepIndex> {
        let (time, step) = *self.queue.first()?;
        if now < time {
            return None;
        }
        self.set(step, None);
        Some(step)
    }
}
