//! The store's clock, as far as its answers show it.
//!
//! Each answer has a `Date` of whole seconds: so the store's clock was somewhere in that second, at some moment between the
//! request and the answer. That gives bounds for how far it is from this machine's clock, and each answer narrows them. The
//! smallest difference that fits is taken: none at all where both clocks are right.

/// How far the store's clock is from this machine's, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    least: i64,
    most: i64,
}

impl Clock {
    /// Nothing is known yet.
    pub(crate) const fn new() -> Self {
        Self { least: i64::MIN, most: i64::MAX }
    }

    /// An answer with this date, to a request that was sent and answered at these times of this machine.
    pub(crate) fn observe(&mut self, date: u64, sent: u64, received: u64) {
        let (date, sent, received) = (signed(date), signed(sent), signed(received));
        let seen = Self { least: date - received, most: date + 1000 - sent };
        let both = Self { least: self.least.max(seen.least), most: self.most.min(seen.most) };
        // One of the clocks was set meanwhile: only the newest counts.
        *self = if both.least <= both.most { both } else { seen };
    }

    /// What the store's clock shows when this machine's shows `local`.
    pub(crate) fn at(&self, local: u64) -> u64 {
        let difference = 0.clamp(self.least, self.most);
        local.saturating_add_signed(difference)
    }
}

fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: u64 = 600_000;

    #[test]
    fn clocks_that_agree_are_left_alone() {
        let mut clock = Clock::new();
        assert_eq!(clock.at(5), 5);
        clock.observe(10_000_000, 10_000_400, 10_000_450);
        assert_eq!(clock.at(10_000_460), 10_000_460);
    }

    #[test]
    fn a_clock_that_is_wrong_is_corrected_within_a_second() {
        for (ahead, behind) in [(MINUTES, 0), (0, MINUTES)] {
            let mut clock = Clock::new();
            // The store's real time is 100_000_321, and it takes 20 ms to answer.
            let local = 100_000_321 + ahead - behind;
            clock.observe(100_000_000, local, local + 20);
            let error = clock.at(local).abs_diff(100_000_321);
            assert!(error <= 1000, "{error}");
            // The next answer falls into the beginning of a second: that says more.
            clock.observe(100_001_000, local + 690, local + 710);
            clock.observe(100_001_000, local + 1650, local + 1670);
            let error = clock.at(local).abs_diff(100_000_321);
            assert!(error <= 40, "{error}");
        }
    }

    #[test]
    fn a_clock_that_is_set_anew_is_believed() {
        let mut clock = Clock::new();
        clock.observe(100_000_000, 100_000_100, 100_000_120);
        clock.observe(200_000_000, 100_001_100, 100_001_120);
        assert!(clock.at(100_001_120).abs_diff(200_000_500) <= 500);
    }
}
