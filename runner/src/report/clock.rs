//! The time of day, as lines of output begin with it.

use jiff::{Timestamp, tz::TimeZone};

use crate::{event::UnixMs, zone};

/// Says times of day: local ones, or UTC where the machine knows no zone.
pub(super) struct Clock {
    zone: TimeZone,
    /// The second that `text` says.
    second: u64,
    text: String,
}

impl Clock {
    /// Of the machine's time zone, or of `TZ`.
    pub(super) fn local() -> Self {
        Clock::of(zone::local())
    }

    pub(super) fn of(zone: TimeZone) -> Self {
        Clock { zone, second: u64::MAX, text: String::new() }
    }

    /// `12:03:07`
    pub(super) fn at(&mut self, at: UnixMs) -> &str {
        // Many events of one second share its text.
        if self.second != at / 1000 {
            self.second = at / 1000;
            let second =
                i64::try_from(self.second).ok().and_then(|second| Timestamp::from_second(second).ok());
            let local = second.unwrap_or_default().to_zoned(self.zone.clone());
            self.text = local.strftime("%H:%M:%S").to_string();
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_zone() {
        assert_eq!(Clock::of(TimeZone::UTC).at(1_700_000_000_999), "22:13:20");
        let mut clock = Clock::of(TimeZone::fixed(jiff::tz::offset(2)));
        assert_eq!(clock.at(1_700_000_000_000), "00:13:20");
        assert_eq!(clock.at(1_700_000_001_000), "00:13:21");
    }
}
