//! The queue for a lock, without the table.

use dcd_plugin_sdk::history::LockPlace;

/// The places in the order in which they asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(pub(crate) Vec<LockPlace>);

impl Queue {
    /// Drops places whose time is over. Who comes to the front that way has held the lock since the time of who stood
    /// there was over.
    pub(crate) fn settle(&mut self, now: u64) {
        let mut free_since = None;
        // Who stands further behind may be gone without its place having been the lock's.
        while self.0.first().is_some_and(|front| front.expires_at <= now) {
            let gone = self.0.remove(0);
            if gone.held_since.is_some() || free_since.is_some() {
                free_since = free_since.max(Some(gone.expires_at));
            }
        }
        self.0.retain(|place| place.expires_at > now);
        if let Some(front) = self.0.first_mut()
            && front.held_since.is_none()
        {
            front.held_since = Some(free_since.unwrap_or(now).max(front.since));
        }
    }

    /// Takes a place at the end, or keeps and renews the one that the ticket has.
    pub(crate) fn acquire(&mut self, ticket: &str, owner: &str, now: u64, expires_at: u64) {
        self.settle(now);
        match self.0.iter_mut().find(|place| place.ticket == ticket) {
            Some(place) => place.expires_at = expires_at,
            None => self.0.push(LockPlace {
                ticket: ticket.to_owned(),
                owner: owner.to_owned(),
                since: now,
                held_since: self.0.is_empty().then_some(now),
                expires_at,
            }),
        }
    }

    /// Renews a place. False: the ticket is not in the queue any more.
    pub(crate) fn renew(&mut self, ticket: &str, now: u64, expires_at: u64) -> bool {
        self.settle(now);
        let place = self.0.iter_mut().find(|place| place.ticket == ticket);
        place.map(|place| place.expires_at = expires_at).is_some()
    }

    /// Leaves the queue. Whether the ticket was in it.
    pub(crate) fn release(&mut self, ticket: &str, now: u64) -> bool {
        self.settle(now);
        let length = self.0.len();
        self.0.retain(|place| place.ticket != ticket);
        let was_in = self.0.len() < length;
        self.settle(now);
        was_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(queue: &Queue) -> Vec<(&str, Option<u64>)> {
        queue.0.iter().map(|place| (place.ticket.as_str(), place.held_since)).collect()
    }

    #[test]
    fn who_is_first_holds_the_lock_until_it_leaves_or_expires() {
        let mut queue = Queue::default();
        queue.acquire("a", "anna", 10, 100);
        queue.acquire("b", "ben", 20, 200);
        queue.acquire("c", "cem", 30, 90);
        assert_eq!(shown(&queue), [("a", Some(10)), ("b", None), ("c", None)]);
        // Asking again keeps the place.
        queue.acquire("b", "ben", 40, 300);
        assert_eq!(shown(&queue), [("a", Some(10)), ("b", None), ("c", None)]);
        // `c` is over before it came to the front, then `a` is.
        queue.settle(95);
        assert_eq!(shown(&queue), [("a", Some(10)), ("b", None)]);
        queue.settle(150);
        assert_eq!(shown(&queue), [("b", Some(100))]);
        assert!(!queue.renew("a", 150, 400));
        assert!(queue.renew("b", 150, 400));
        queue.acquire("d", "dora", 160, 500);
        assert!(queue.release("b", 170));
        assert_eq!(shown(&queue), [("d", Some(170))]);
        assert!(!queue.release("b", 180));
        assert!(queue.release("d", 180));
        assert_eq!(shown(&queue), []);
    }

    #[test]
    fn a_place_that_outlives_all_before_it_has_held_since_the_last_of_them() {
        let mut queue = Queue::default();
        for (ticket, expires) in [("a", 100), ("b", 150), ("c", 120), ("d", 500)] {
            queue.acquire(ticket, "x", 10, expires);
        }
        queue.settle(400);
        assert_eq!(shown(&queue), [("d", Some(150))]);
        // A newcomer finds nobody.
        queue.settle(600);
        queue.acquire("e", "x", 600, 700);
        assert_eq!(shown(&queue), [("e", Some(600))]);
    }
}
