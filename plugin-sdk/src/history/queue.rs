//! Who waits for a lock.

use serde::{Deserialize, Serialize};

use super::{Lock, LockPlace};

/// The queue for a lock, for backends that keep it as one value and let one writer at a time change that: the rules,
/// without I/O and clock.
///
/// `now` is always what a clock shows that all callers share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LockQueue(Vec<LockPlace>);

impl LockQueue {
    /// Takes a place at the end; or renews the one that the ticket has.
    pub fn acquire(&mut self, ticket: &str, owner: &str, ttl_ms: u32, now: u64) {
        if self.renew(ticket, ttl_ms, now) {
            return;
        }
        self.0.push(LockPlace {
            ticket: ticket.to_owned(),
            owner: owner.to_owned(),
            since: now,
            held_since: None,
            expires_at: now.saturating_add(ttl_ms.into()),
        });
        self.settle(now);
    }

    /// Renews a place. False when the ticket has none any more.
    pub fn renew(&mut self, ticket: &str, ttl_ms: u32, now: u64) -> bool {
        self.settle(now);
        let place = self.0.iter_mut().find(|place| place.ticket == ticket);
        place.map(|place| place.expires_at = now.saturating_add(ttl_ms.into())).is_some()
    }

    /// Leaves the queue. Whether the ticket was in it.
    pub fn release(&mut self, ticket: &str, now: u64) -> bool {
        self.settle(now);
        let before = self.0.len();
        self.0.retain(|place| place.ticket != ticket);
        self.settle(now);
        self.0.len() < before
    }

    /// The lock as it stands; its queue is empty when nobody holds it.
    #[must_use]
    pub fn lock(&self, name: &str, now: u64) -> Lock {
        let mut queue = self.clone();
        queue.settle(now);
        Lock { name: name.to_owned(), queue: queue.0, as_of: now }
    }

    /// Drops the places whose time is over; the first of the others holds the lock.
    fn settle(&mut self, now: u64) {
        self.0.retain(|place| place.expires_at > now);
        if let Some(first) = self.0.first_mut() {
            first.held_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(queue: &LockQueue, now: u64) -> Vec<String> {
        queue.lock("prod", now).queue.into_iter().map(|place| place.ticket).collect()
    }

    #[test]
    fn who_asked_first_holds_the_lock_first() {
        let mut queue = LockQueue::default();
        queue.acquire("a", "ann", 100, 0);
        queue.acquire("b", "bob", 100, 10);
        queue.acquire("c", "cho", 100, 20);
        queue.acquire("b", "bob", 100, 30);
        assert_eq!(tickets(&queue, 30), ["a", "b", "c"]);
        assert!(queue.release("a", 40) && !queue.release("a", 40));
        let lock = queue.lock("prod", 50);
        let held: Vec<_> = lock.queue.iter().map(|place| (place.since, place.held_since)).collect();
        assert_eq!(held, [(10, Some(40)), (20, None)]);
    }

    #[test]
    fn places_drop_out_that_are_not_renewed() {
        let mut queue = LockQueue::default();
        queue.acquire("a", "ann", 100, 0);
        queue.acquire("b", "bob", 200, 0);
        assert_eq!(tickets(&queue, 99), ["a", "b"]);
        assert_eq!(tickets(&queue, 100), ["b"]);
        assert!(!queue.renew("a", 100, 100) && queue.renew("b", 100, 150));
        assert!(!queue.release("a", 150));
        queue.acquire("a", "ann", 100, 150);
        assert_eq!(tickets(&queue, 200), ["b", "a"]);
        assert_eq!(tickets(&queue, 250), [""; 0]);
    }
}
