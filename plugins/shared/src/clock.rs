//! The server's clock, as far as the `Date` of its answers tells.
//!
//! Leases and locks are about who is still there, so all writers must go by one clock, and theirs may be minutes apart.
//! `Date` has whole seconds; but each answer narrows down how far the two clocks are apart. Where this machine's clock may
//! be right it is believed; where it cannot be, a question or two just when the server's second ends tell enough.

use std::time::{SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::http::Response;

/// Two machines that know it as well as this agree within half a second.
const VAGUE_MS: u64 = 300;

/// How far the server's clock is ahead of this machine's, in milliseconds: from, to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    ahead: Option<(i64, i64)>,
}

impl Clock {
    /// Looks at the `Date` of an answer, whose request was sent at this time of this machine.
    pub fn hear_answer(&mut self, answer: &Response, sent: u64) {
        let date = answer.header_value("date").and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(date) = date {
            self.hear(milliseconds(date), sent, local());
        }
    }

    /// An answer said that it was this second, somewhen between its request and its arrival. All in milliseconds, the
    /// last two by this machine's clock.
    fn hear(&mut self, second: u64, sent: u64, received: u64) {
        let heard = (gap(second, received), gap(second + 1000, sent));
        let both = self.ahead.map(|(from, to)| (from.max(heard.0), to.min(heard.1)));
        // They do not overlap when one of the clocks was set.
        self.ahead = Some(both.filter(|(from, to)| from <= to).unwrap_or(heard));
    }

    /// How far the server's clock is ahead: not at all where that may be, else what is least wrong.
    pub fn ahead(&self) -> i64 {
        match self.ahead {
            Some((from, to)) if from > 0 || to < 0 => i64::midpoint(from, to),
            Some(_) | None => 0,
        }
    }

    /// What the server's clock shows when this machine's shows `local`.
    pub fn at(&self, local: u64) -> u64 {
        local.saturating_add_signed(self.ahead())
    }

    /// Whether this machine's clock is wrong, and it is not known well by how much.
    pub fn is_vague(&self) -> bool {
        self.ahead.is_some_and(|(from, to)| (from > 0 || to < 0) && from.abs_diff(to) > VAGUE_MS)
    }

    /// How long it is until the server's second ends, in milliseconds. Whether it has or has not tells most.
    pub fn until_tick(&self, local: u64) -> u64 {
        1000 - self.at(local) % 1000
    }
}

/// The time that this machine's clock shows, in milliseconds since the epoch.
pub fn local() -> u64 {
    milliseconds(SystemTime::now())
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn gap(one: u64, other: u64) -> i64 {
    one.cast_signed().saturating_sub(other.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_may_be_right_is_believed() {
        let mut clock = Clock::default();
        assert_eq!(clock.at(5_700), 5_700);
        clock.hear(5_000, 5_700, 5_720);
        assert_eq!(clock.at(5_721), 5_721);
        // A slow answer.
        clock.hear(6_000, 5_990, 9_000);
        assert_eq!(clock.at(9_000), 9_000);
    }

    #[test]
    fn clocks_that_are_far_apart_are_brought_together_within_a_second() {
        // The server's shows 600,300 more: first heard at its 1,000,100, then at 1,002,990.
        let mut clock = Clock::default();
        clock.hear(1_000_000, 399_800, 399_810);
        assert_eq!((clock.ahead(), clock.is_vague()), (600_695, true));
        clock.hear(1_002_000, 402_690, 402_700);
        assert_eq!((clock.ahead(), clock.is_vague()), (600_250, false));
        // The other way.
        let mut clock = Clock::default();
        clock.hear(1_000_000, 1_600_800, 1_600_810);
        assert_eq!((clock.ahead(), clock.is_vague()), (-600_305, true));
        // This machine's clock was set.
        clock.hear(1_010_000, 1_010_500, 1_010_510);
        assert_eq!((clock.ahead(), clock.is_vague()), (0, false));
    }

    #[test]
    fn asking_when_the_second_ends_narrows_it_down() {
        for ahead in [-600_001, -1_500, 2_345, 600_999] {
            let mut clock = Clock::default();
            let mut local = 1_763_000_000_123;
            let mut questions = 0;
            loop {
                let second = (local + 5_u64).saturating_add_signed(ahead) / 1000 * 1000;
                clock.hear(second, local, local + 10);
                if !clock.is_vague() {
                    break;
                }
                questions += 1;
                local += 10 + clock.until_tick(local + 10);
            }
            assert!(questions <= 2, "{questions}");
            assert!(clock.ahead().abs_diff(ahead) <= 150, "{} for {ahead}", clock.ahead());
        }
    }
}
