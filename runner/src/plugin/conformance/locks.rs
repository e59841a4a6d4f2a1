//! Named locks, for backends that have them.

use std::thread;

use super::{
    Checked,
    bench::{Bench, LONG, holds, pause, same},
    instance::Instance,
};
use crate::plugin::bindings::history::exports::dcd::plugin::history::{Lease, LockOutcome};

/// A lock that a check outlives.
const SHORT: u32 = 1000;
const RACERS: usize = 4;

/// Takes a lock that must be free.
fn take(one: &mut Instance, name: &str, owner: &str, ttl_ms: u32) -> Result<Lease, String> {
    match one.acquire(name, owner, ttl_ms)? {
        LockOutcome::Acquired(lease) => Ok(lease),
        LockOutcome::Held(holder) => {
            Err(format!("{owner} wants a lock that is free: it is held by {}", holder.owner))
        }
    }
}

/// Fails unless the lock is held by `holder`.
fn held(one: &mut Instance, name: &str, owner: &str, holder: &str) -> Checked {
    match one.acquire(name, owner, LONG)? {
        LockOutcome::Held(by) => same("the lock's holder", &by.owner.as_str(), &holder),
        LockOutcome::Acquired(_) => Err(format!("{owner} got a lock that {holder} holds")),
    }
}

pub(super) fn exclusive(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let name = format!("{}/deploy to prod", bench.component);
    let lease = take(&mut one, &name, "one", LONG)?;
    held(&mut other, &name, "two", "one")?;
    take(&mut other, &format!("{name}2"), "two", LONG)?;
    one.release(&name, &lease.token)?;
    take(&mut other, &name, "two", LONG)?;
    // Giving back what is given back, or another's, changes nothing.
    one.release(&name, &lease.token)?;
    held(&mut one, &name, "one", "two")
}

pub(super) fn repeated(bench: &Bench) -> Checked {
    take(&mut bench.instance(), &bench.component, "one", LONG)?;
    let mut again = bench.instance();
    let lease = take(&mut again, &bench.component, "one", LONG)?;
    held(&mut again, &bench.component, "two", "one")?;
    again.release(&bench.component, &lease.token)?;
    take(&mut again, &bench.component, "two", LONG).map(drop)
}

pub(super) fn expires(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let name = &bench.component;
    let old = take(&mut one, name, "one", SHORT)?;
    pause(u64::from(SHORT) + 500);
    let new = take(&mut other, name, "two", LONG)?;
    let (before, after) = (old.fence, new.fence);
    holds(after > before, || format!("the fence was {before} and is {after}; it must rise"))?;
    let renewed = one.renew_lock(name, &old.token, LONG)?;
    holds(renewed.is_none(), || format!("renewing a lock that another has: got {renewed:?}, expected none"))?;
    one.release(name, &old.token)?;
    held(&mut one, name, "one", "two")
}

pub(super) fn renewed(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let lease = take(&mut one, &bench.component, "one", SHORT)?;
    let Some(renewed) = one.renew_lock(&bench.component, &lease.token, LONG)? else {
        return Err("a lock that was just taken is called lost".to_owned());
    };
    same("the token of a renewed lock", &renewed.token, &lease.token)?;
    pause(u64::from(SHORT) + 500);
    held(&mut other, &bench.component, "two", "one")
}

pub(super) fn race(bench: &Bench) -> Checked {
    let racer = |racer: usize| {
        let (mut instance, name) = (bench.instance(), bench.component.clone());
        thread::spawn(move || instance.acquire(&name, &format!("racer {racer}"), LONG))
    };
    let racers: Vec<_> = (0..RACERS).map(racer).collect();
    let mut winners = 0;
    for racer in racers {
        let outcome = racer.join().map_err(|_| "an instance panicked")??;
        winners += usize::from(matches!(outcome, LockOutcome::Acquired(_)));
    }
    same("how many got it", &winners, &1)
}
