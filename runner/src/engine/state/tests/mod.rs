//! What the state decides, without a process.

mod courses;
mod random;
mod rules;
mod simulation;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Two jobs, and nothing else.
const OPTIONS: Options = Options { jobs: 2, fail_fast: false, timeout: None };

/// A step that runs once all that it needs has succeeded.
fn spec(step: StepIndex, needs: &[StepIndex]) -> StepSpec {
    StepSpec {
        name: format!("s{step}").into(),
        needs: needs.to_vec(),
        conditions: Vec::new(),
        timeout: None,
        retry: Retry::default(),
        continue_on_error: false,
        left_out: None,
    }
}

fn ended(step: StepIndex, outcome: Outcome) -> Input {
    Input::Finished(step, Box::new(StepEnd::new(outcome)))
}
