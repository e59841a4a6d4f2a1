//! Named locks: one item each, with the whole queue, changed on the condition that nobody else did meanwhile.

use std::thread;
use std::time::Duration;

use dcd_plugin_sdk::history::Lock;
use dcd_plugin_sdk::{Error, Fault, Help as _};

use crate::item::{self, Item};
use crate::keys;
use crate::queue::Queue;
use crate::request::Request;
use crate::table::{Table, jittered, random};

/// How often a change is tried that others were quicker with, and the first pause; each one after is longer.
const TRIES: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest name: what a sort key can hold.
const LONGEST_NAME: usize = 1024;

pub(crate) fn acquire(
    table: &Table,
    name: &str,
    ticket: &str,
    owner: &str,
    ttl_ms: u32,
) -> Result<Lock, Error> {
    let (queue, now, ()) = change(table, name, |queue, now| {
        queue.acquire(ticket, owner, now, now.saturating_add(ttl_ms.into()));
        Change::Write(())
    })?;
    Ok(Lock { name: name.to_owned(), queue: queue.0, as_of: now })
}

pub(crate) fn renew(table: &Table, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
    let (queue, now, is_in) = change(table, name, |queue, now| {
        let is_in = queue.renew(ticket, now, now.saturating_add(ttl_ms.into()));
        if is_in { Change::Write(true) } else { Change::Leave(false) }
    })?;
    Ok(is_in.then(|| Lock { name: name.to_owned(), queue: queue.0, as_of: now }))
}

pub(crate) fn release(table: &Table, name: &str, ticket: &str) -> Result<bool, Error> {
    let mut was_in = false;
    change(table, name, |queue, now| {
        let is_in = queue.release(ticket, now);
        // Also when the answer to a try of this call was lost.
        was_in |= is_in;
        if is_in { Change::Write(()) } else { Change::Leave(()) }
    })?;
    Ok(was_in)
}

pub(crate) fn list(table: &Table) -> Result<Vec<Lock>, Error> {
    let items = table.query_all(&Request::query(keys::LOCKS, " ", LAST))?;
    let now = table.now();
    let mut locks = Vec::new();
    for item in &items {
        let mut queue = read(item)?;
        queue.settle(now);
        if !queue.0.is_empty() {
            locks.push(Lock { name: item::get_text(item, "sk")?.to_owned(), queue: queue.0, as_of: now });
        }
    }
    Ok(locks)
}

/// Sorts after every name.
const LAST: &str = "\u{10ffff}";

/// What comes of a look at a queue.
enum Change<T> {
    Write(T),
    /// There is nothing to be changed.
    Leave(T),
}

/// Changes a queue. Answers it, and the time that it was changed at.
fn change<T>(
    table: &Table,
    name: &str,
    mut act: impl FnMut(&mut Queue, u64) -> Change<T>,
) -> Result<(Queue, u64, T), Error> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        let message = format!("the name of a lock has 1 to {LONGEST_NAME} bytes, and not {}", name.len());
        return Err(Error::other(message));
    }
    let key = keys::lock(name);
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        let item = table.get(&key)?;
        let mut queue = item.as_ref().map(read).transpose()?.unwrap_or_default();
        // After the answer, which tells the time.
        let now = table.now();
        let answer = match act(&mut queue, now) {
            Change::Leave(answer) => return Ok((queue, now, answer)),
            Change::Write(answer) => answer,
        };
        let written = if queue.0.is_empty() {
            table.delete(unchanged(Request::delete(&key), item.as_ref()))
        } else {
            let new = key.with([
                ("queue", item::text(&serde_json::to_string(&queue.0)?)),
                ("version", item::text(&random()?)),
            ]);
            table.put(unchanged(Request::put(new), item.as_ref()))
        };
        if written.context(format!("the lock {name}"))? {
            return Ok((queue, now, answer));
        }
        thread::sleep(jittered(pause));
        pause = pause.mul_f32(1.5);
    }
    let message = format!("{TRIES} others were quicker to change the queue for the lock {name}");
    Err(Error::unavailable(Fault::new(message).retry_after_ms(500)))
}

fn read(item: &Item) -> Result<Queue, Error> {
    let queue = item::get_text(item, "queue")?;
    serde_json::from_str(queue).map(Queue).map_err(|_| item::damaged(item, "queue"))
}

/// On the condition that the item is as it was read.
fn unchanged(request: Request, item: Option<&Item>) -> Request {
    match item.and_then(|item| item::find_text(item, "version")) {
        Some(version) => request.condition("#version = :version").value(":version", item::text(version)),
        None => request.condition("attribute_not_exists(pk)"),
    }
}
