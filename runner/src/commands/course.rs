//! A build from its opening to its end: what it requires and waits for, then its steps.

use tokio::sync::mpsc;

use crate::{
    commands::{
        locking::{LockRequest, Waited},
        steps::BuildSteps,
    },
    engine::{BuildEnd, Dispatcher, Late, LeftOut, Options, RunError, StepSpec},
    event::Problem,
    exec::Processes,
    journal::{JournalError, Writer},
    pipeline::{Pipeline, Step},
};

/// How a build goes from its opening to its end.
pub(super) struct Course {
    pub(super) options: Options,
    /// The pipeline requires a number from its history backend, and there is none.
    pub(super) unnumbered: bool,
    /// A signal that came before the start.
    pub(super) early: Option<i32>,
    /// What still runs after an error is killed by this before another build gets the lock.
    pub(super) processes: Processes,
    /// Where it is said that the lock is lost.
    pub(super) late: mpsc::UnboundedSender<Late>,
}

impl Course {
    /// Waits for the lock, and runs the steps; or ends the build before the first one.
    pub(super) async fn run(
        mut self,
        mut dispatcher: Dispatcher<Writer, BuildSteps>,
        specs: Vec<StepSpec>,
        lock: Option<Result<LockRequest, Problem>>,
        mut interrupts: mpsc::UnboundedReceiver<i32>,
        late: mpsc::UnboundedReceiver<Late>,
    ) -> Result<(BuildEnd, Writer), RunError<JournalError>> {
        if self.unnumbered && self.early.is_none() {
            let reason = "the pipeline requires its history backend, which gave no number".to_owned();
            return dispatcher.abandon(reason, interrupts).await;
        }
        let (mut held, locked) = (None, lock.is_some());
        if let (Some(lock), None) = (lock, self.early) {
            let waited = match lock {
                Ok(lock) => lock.wait(&mut interrupts, |body| dispatcher.emit(body)).await,
                Err(problem) => Ok(Err(problem.message)),
            };
            match waited? {
                Ok(Waited::Held(mut lock)) => {
                    lock.watch(self.late.clone());
                    held = Some(lock);
                }
                Ok(Waited::Interrupted(signal)) => self.early = Some(signal),
                Err(reason) => return dispatcher.abandon(reason, interrupts).await,
            }
        }
        let Course { options, early, processes, .. } = self;
        // Nothing runs without the lock, not even what cleans up.
        let times = if locked && held.is_none() { 2 } else { 1 };
        let early = early.into_iter().flat_map(|signal| vec![signal; times]).collect();
        let ended = dispatcher.run(specs, options, early, interrupts, late).await;
        if let Some(held) = held {
            if ended.is_err() {
                processes.kill_all();
            }
            held.give_back().await;
        }
        ended
    }
}

/// What the engine needs to know of the steps.
pub(super) fn specs(pipeline: &Pipeline, left_out: Vec<Option<LeftOut>>) -> Vec<StepSpec> {
    let spec = |(step, left_out): (&Step, Option<LeftOut>)| StepSpec {
        name: step.name.value.as_str().into(),
        needs: step.needs.clone(),
        conditions: step.conditions.iter().map(|condition| condition.within.clone()).collect(),
        timeout: step.timeout,
        retry: step.retry.clone(),
        continue_on_error: step.continue_on_error,
        left_out,
    };
    pipeline.steps.iter().zip(left_out).map(spec).collect()
}
