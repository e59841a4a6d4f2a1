//! Named locks: a queue in one object per name, which each change replaces.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Lock, LockPlace};
use serde::{Deserialize, Serialize};

use crate::document::{self, Change, Document, Version};
use crate::layout;
use crate::store::Store;

/// A lock's object. It stays when nobody is in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    name: String,
    places: Vec<Place>,
    stamp: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    ticket: String,
    owner: String,
    since: u64,
    held_since: Option<u64>,
    expires_at: u64,
}

impl Document for Queue {
    fn stamp(&self) -> &str {
        &self.stamp
    }

    fn set_stamp(&mut self, stamp: String) {
        self.stamp = stamp;
    }
}

impl Queue {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Drops the places whose time is over, and has the first of the rest hold the lock.
    fn settle(&mut self, now: u64) {
        // When the lock became free, if it did by a place that ran out.
        let freed = self
            .places
            .iter()
            .take_while(|place| place.expires_at <= now)
            .map(|place| place.expires_at)
            .max();
        self.places.retain(|place| place.expires_at > now);
        if let Some(first) = self.places.first_mut()
            && first.held_since.is_none()
        {
            first.held_since = Some(freed.unwrap_or(now).max(first.since));
        }
    }

    fn acquire(&mut self, ticket: &str, owner: &str, now: u64, ttl_ms: u32) {
        self.settle(now);
        if !self.renew(ticket, now, ttl_ms) {
            self.places.push(Place {
                ticket: ticket.to_owned(),
                owner: owner.to_owned(),
                since: now,
                held_since: None,
                expires_at: now.saturating_add(ttl_ms.into()),
            });
            self.settle(now);
        }
    }

    fn renew(&mut self, ticket: &str, now: u64, ttl_ms: u32) -> bool {
        self.settle(now);
        let Some(place) = self.places.iter_mut().find(|place| place.ticket == ticket) else { return false };
        place.expires_at = now.saturating_add(ttl_ms.into());
        true
    }

    fn release(&mut self, ticket: &str, now: u64) -> bool {
        self.settle(now);
        let many = self.places.len();
        self.places.retain(|place| place.ticket != ticket);
        self.settle(now);
        self.places.len() < many
    }

    fn lock(&self, now: u64) -> Lock {
        let queue = self.places.iter().map(|place| LockPlace {
            ticket: place.ticket.clone(),
            owner: place.owner.clone(),
            since: place.since,
            held_since: place.held_since,
            expires_at: place.expires_at,
        });
        Lock { name: self.name.clone(), queue: queue.collect(), as_of: now }
    }
}

pub(crate) fn acquire(
    store: &Store,
    name: &str,
    ticket: &str,
    owner: &str,
    ttl_ms: u32,
) -> Result<Lock, Error> {
    let take = |queue: &mut Queue| {
        let now = store.now();
        queue.acquire(ticket, owner, now, ttl_ms);
        Ok(Change::Write(queue.lock(now)))
    };
    // There is always one to change: a new one, if need be.
    change(store, name, Some(&Queue::new(name)), take)?.ok_or_else(|| Error::other("the lock is gone"))
}

pub(crate) fn renew(store: &Store, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
    let renew = |queue: &mut Queue| {
        let now = store.now();
        let is_there = queue.renew(ticket, now, ttl_ms);
        Ok(if is_there { Change::Write(Some(queue.lock(now))) } else { Change::Leave(None) })
    };
    change(store, name, None, renew).map(Option::flatten)
}

pub(crate) fn release(store: &Store, name: &str, ticket: &str) -> Result<bool, Error> {
    let release = |queue: &mut Queue| {
        Ok(if queue.release(ticket, store.now()) { Change::Write(true) } else { Change::Leave(false) })
    };
    change(store, name, None, release).map(|was_there| was_there.unwrap_or(false))
}

/// The locks that are held, by name.
pub(crate) fn all(store: &Store) -> Result<Vec<Lock>, Error> {
    let keys: Vec<_> =
        store.list(layout::LOCKS, None, usize::MAX)?.into_iter().map(|object| object.key).collect();
    let mut locks = Vec::new();
    for (key, object) in keys.iter().zip(store.get_all(&keys)?) {
        let Some(object) = object else { continue };
        let Version { document: mut queue, .. } = document::parse::<Queue>(key, object)?;
        let now = store.now();
        queue.settle(now);
        if !queue.places.is_empty() {
            locks.push(queue.lock(now));
        }
    }
    locks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(locks)
}

fn change<T>(
    store: &Store,
    name: &str,
    new: Option<&Queue>,
    decide: impl FnMut(&mut Queue) -> Result<Change<T>, Error>,
) -> Result<Option<T>, Error> {
    let updated = document::update(store, &layout::lock(name), None, new, decide)?;
    Ok(updated.map(|(answer, _)| answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(queue: &Queue) -> Vec<(&str, Option<u64>)> {
        queue.places.iter().map(|place| (place.ticket.as_str(), place.held_since)).collect()
    }

    #[test]
    fn a_queue_is_kept_in_order() {
        let mut queue = Queue::new("prod");
        queue.acquire("a", "anna", 100, 50);
        queue.acquire("b", "bea", 110, 500);
        queue.acquire("a", "anna", 120, 50);
        queue.acquire("c", "cleo", 130, 500);
        assert_eq!(tickets(&queue), [("a", Some(100)), ("b", None), ("c", None)]);
        // a runs out at 170, and nobody looks before 200.
        assert!(!queue.renew("a", 200, 50));
        assert_eq!(tickets(&queue), [("b", Some(170)), ("c", None)]);
        assert!(queue.release("b", 210) && !queue.release("b", 211));
        assert_eq!(tickets(&queue), [("c", Some(210))]);
        queue.acquire("a", "anna", 220, 50);
        assert!(queue.release("a", 230), "one that waits may leave");
        assert_eq!(tickets(&queue), [("c", Some(210))]);
        assert_eq!(queue.lock(1000).as_of, 1000);
    }
}
