//! One attempt of a step that is a process: from its files, through its process, to what it made.

use tokio::sync::mpsc;

use crate::{
    engine::message::{StepContent, StepEnd, StepIndex, StepMessage, Stop},
    event::Outcome,
    exec::{self, Ended, Processes, Program},
    products::{self, Products, Wanted},
};

/// What an attempt is made of.
pub(super) struct Attempt {
    pub(super) step: StepIndex,
    /// 1 for the first try.
    pub(super) number: u32,
    pub(super) program: Program,
    pub(super) wanted: Wanted,
}

impl Attempt {
    /// Runs it. All there is to say, its end last, goes to `messages`.
    pub(super) async fn run(
        self,
        processes: Processes,
        products: Products,
        messages: mpsc::Sender<StepMessage>,
        control: mpsc::UnboundedReceiver<Stop>,
    ) {
        let step = self.step;
        let end = self.end(&processes, &products, &messages, control).await;
        // The dispatcher is gone only when the build was given up.
        let _ = messages.send(StepMessage { step, content: StepContent::Finished(Box::new(end)) }).await;
    }

    async fn end(
        mut self,
        processes: &Processes,
        products: &Products,
        messages: &mpsc::Sender<StepMessage>,
        mut control: mpsc::UnboundedReceiver<Stop>,
    ) -> StepEnd {
        let step = self.step;
        let handover = match products.begin(step, self.number) {
            Ok(handover) => handover,
            Err(problem) => return StepEnd::error(problem),
        };
        self.program.env.extend(handover.env());
        let Ended { mut end, stopped } =
            exec::run(processes, &self.program, step, messages, &mut control).await;
        for log in handover.take(&mut end) {
            let _ = messages.send(StepMessage { step, content: StepContent::Log(log) }).await;
        }
        let succeeded = end.outcome == Outcome::Success && !stopped;
        products::collect(self.wanted, &handover, succeeded, step, messages, &mut control).await;
        end
    }
}
