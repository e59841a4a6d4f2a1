//! Waiting for others that write the same object.

use std::time::{Duration, Instant};

use dcd_plugin_sdk::Error;

use crate::store::{Store, number};

/// The longest pause before a write is tried again,
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// and where many may try for long: at a slow store, shorter pauses would have all of them try all the time.
const LONGEST_OF_MANY: Duration = Duration::from_secs(10);

/// Pauses between tries that were lost to another writer.
///
/// Each is of random length, up to what some tries take, so that few try at once however many there are and however slow
/// the store is. They do not grow on and on with the tries that were lost: those that come last, and have lost none, would
/// always be first.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    store: &'a Store,
    /// How many tries a pause may take, after so many were lost before.
    tries: fn(u32) -> u32,
    longest: Duration,
    losses: u32,
    tried: Instant,
    /// What the store had paused then: pauses within a try make it no longer.
    paused: Duration,
}

impl<'a> Backoff<'a> {
    /// The first try begins.
    pub(crate) fn new(store: &'a Store) -> Self {
        // One may be the other of two; with a second loss there are many.
        Self::with(store, |losses| if losses == 0 { 2 } else { 8 }, LONGEST_PAUSE)
    }

    /// The same, where many may try again and again, and each has to be first once.
    pub(crate) fn of_many(store: &'a Store) -> Self {
        Self::with(store, sooner, LONGEST_OF_MANY)
    }

    fn with(store: &'a Store, tries: fn(u32) -> u32, longest: Duration) -> Self {
        Self { store, tries, longest, losses: 0, tried: Instant::now(), paused: store.paused.get() }
    }

    /// A try was lost to another writer. The next begins after this.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        let paused = self.store.paused.get();
        let took = self.tried.elapsed().saturating_sub(paused.saturating_sub(self.paused));
        let most = longest(took, (self.tries)(self.losses), self.longest);
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1);
        let pause = Duration::from_nanos(number()? % nanoseconds);
        std::thread::sleep(pause);
        self.store.paused.set(paused + pause);
        *self = Self { losses: self.losses + 1, ..Self::with(self.store, self.tries, self.longest) };
        Ok(())
    }
}

/// Who lost often pauses for less: else somebody is unlucky until all others are done. Not for much less, and late, as all
/// that wait try more often then.
fn sooner(losses: u32) -> u32 {
    16 >> (losses / 2).min(2)
}

/// The longest pause after a try that took so long.
fn longest(took: Duration, tries: u32, most: Duration) -> Duration {
    took.saturating_mul(tries).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_often_comes_sooner() {
        let pauses = [0, 1, 2, 3, 4, 5, 100, u32::MAX].map(sooner);
        assert_eq!(pauses, [16, 16, 8, 8, 4, 4, 4, 4]);
    }

    #[test]
    fn a_pause_is_as_long_as_some_tries() {
        let took = Duration::from_millis(20);
        assert_eq!([4, 16].map(|tries| longest(took, tries, LONGEST_PAUSE).as_millis()), [80, 320]);
        assert_eq!(longest(Duration::from_secs(1), 16, LONGEST_OF_MANY), LONGEST_OF_MANY);
    }
}
