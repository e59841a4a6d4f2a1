//! Waiting, but not when the step is to stop.

use std::time::{Duration, Instant};

use dcd_plugin_sdk::{StepContext, StepError};

/// How often a wait looks whether the step was cancelled.
const GLANCE: Duration = Duration::from_millis(100);

/// Waits for so long; [`StepError::Cancelled`] at once when the step is cancelled.
pub fn pause(wait: Duration, cx: &StepContext) -> Result<(), StepError> {
    let start = Instant::now();
    loop {
        if cx.cancelled() {
            return Err(StepError::Cancelled);
        }
        let Some(left) = wait.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
            return Ok(());
        };
        std::thread::sleep(left.min(GLANCE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_step_does_not_wait() {
        assert_eq!(pause(Duration::ZERO, &StepContext::default()), Ok(()));
        dcd_plugin_sdk::mock::cancel();
        let start = Instant::now();
        assert_eq!(pause(Duration::from_hours(1), &StepContext::default()), Err(StepError::Cancelled));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
