//! Named locks, for backends that have them: queues of tickets.

use std::thread;

use super::{
    Checked,
    bench::{Bench, LONG, holds, pause, same},
    instance::Instance,
};
use crate::plugin::bindings::history::exports::dcd::plugin::history::Lock;

/// A place that a check outlives, and some calls on a loaded machine do not.
const SHORT: u32 = 3000;
const RACERS: usize = 4;

fn owners(lock: &Lock) -> Vec<&str> {
    lock.queue.iter().map(|place| place.owner.as_str()).collect()
}

/// Asks for a lock, with the owner's name as ticket; fails unless these are then in the queue.
fn ask(one: &mut Instance, name: &str, owner: &str, ttl_ms: u32, expected: &[&str]) -> Checked {
    let lock = one.acquire(name, owner, owner, ttl_ms)?;
    same("the lock's name", &lock.name.as_str(), &name)?;
    same(&format!("the queue when {owner} asks"), &owners(&lock).as_slice(), &expected)
}

pub(super) fn exclusive(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let name = format!("{}/deploy to prod", bench.component);
    ask(&mut one, &name, "one", LONG, &["one"])?;
    ask(&mut other, &name, "two", LONG, &["one", "two"])?;
    ask(&mut other, &format!("{name}2"), "two", LONG, &["two"])?;
    same("giving it back", &one.release(&name, "one")?, &true)?;
    ask(&mut other, &name, "two", LONG, &["two"])?;
    same("giving back what is given back", &one.release(&name, "one")?, &false)?;
    ask(&mut one, &name, "one", LONG, &["two", "one"])
}

pub(super) fn queued(bench: &Bench) -> Checked {
    let name = &bench.component;
    let mut one = bench.instance();
    for (asked, owner) in ["one", "two", "three", "four"].iter().enumerate() {
        ask(&mut one, name, owner, LONG, &["one", "two", "three", "four"][..=asked])?;
    }
    let mut other = bench.instance();
    ask(&mut other, name, "three", LONG, &["one", "two", "three", "four"])?;
    same("who waits may leave", &other.release(name, "two")?, &true)?;
    ask(&mut other, name, "four", LONG, &["one", "three", "four"])?;
    same("giving it back", &other.release(name, "one")?, &true)?;
    let lock = one.acquire(name, "three", "three", LONG)?;
    same("the queue after that", &owners(&lock).as_slice(), &["three", "four"].as_slice())?;
    let held: Vec<_> = lock.queue.iter().map(|place| place.held_since.is_some()).collect();
    same("who is said to hold it", &held, &vec![true, false])?;
    holds(lock.queue.iter().all(|place| place.since <= lock.as_of && place.expires_at > lock.as_of), || {
        format!("the times of {lock:?} do not fit each other")
    })
}

pub(super) fn listed(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let names = ["a", "b"].map(|name| format!("{}/{name}", bench.component));
    for name in &names {
        ask(&mut one, name, "one", LONG, &["one"])?;
    }
    ask(&mut one, &names[1], "two", LONG, &["one", "two"])?;
    let own = |locks: Vec<Lock>| -> Vec<_> {
        let own = locks.into_iter().filter(|lock| names.contains(&lock.name));
        own.map(|lock| (lock.name.clone(), owners(&lock).join(" "))).collect()
    };
    let expected = vec![(names[0].clone(), "one".to_owned()), (names[1].clone(), "one two".to_owned())];
    same("the locks", &own(other.locks()?), &expected)?;
    for name in &names {
        other.release(name, "one")?;
    }
    same("the locks later", &own(one.locks()?), &vec![(names[1].clone(), "two".to_owned())])
}

pub(super) fn repeated(bench: &Bench) -> Checked {
    ask(&mut bench.instance(), &bench.component, "one", LONG, &["one"])?;
    let mut again = bench.instance();
    ask(&mut again, &bench.component, "one", LONG, &["one"])?;
    ask(&mut again, &bench.component, "two", LONG, &["one", "two"])?;
    same("giving it back", &again.release(&bench.component, "one")?, &true)?;
    ask(&mut again, &bench.component, "two", LONG, &["two"])
}

pub(super) fn expires(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let name = &bench.component;
    ask(&mut one, name, "one", SHORT, &["one"])?;
    ask(&mut one, name, "dead", SHORT, &["one", "dead"])?;
    ask(&mut other, name, "two", LONG, &["one", "dead", "two"])?;
    pause(u64::from(SHORT) + 500);
    ask(&mut other, name, "two", LONG, &["two"])?;
    let renewed = one.renew_lock(name, "one", LONG)?;
    holds(renewed.is_none(), || format!("renewing a place that is lost: got {renewed:?}, expected none"))?;
    same("giving it back", &one.release(name, "one")?, &false)?;
    ask(&mut one, name, "one", LONG, &["two", "one"])
}

pub(super) fn renewed(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let name = &bench.component;
    ask(&mut one, name, "one", SHORT, &["one"])?;
    let Some(lock) = one.renew_lock(name, "one", LONG)? else {
        return Err("a lock that was just taken is called lost".to_owned());
    };
    same("the queue of a renewed lock", &owners(&lock), &vec!["one"])?;
    pause(u64::from(SHORT) + 500);
    ask(&mut other, name, "two", LONG, &["one", "two"])
}

pub(super) fn race(bench: &Bench) -> Checked {
    let racer = |racer: usize| {
        let (mut instance, name) = (bench.instance(), bench.component.clone());
        thread::spawn(move || {
            let own = format!("racer {racer}");
            let lock = instance.acquire(&name, &own, &own, LONG)?;
            Ok::<_, String>(lock.queue.first().is_some_and(|first| first.ticket == own))
        })
    };
    let racers: Vec<_> = (0..RACERS).map(racer).collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.join().map_err(|_| "an instance panicked")??);
    }
    same("how many got it", &winners, &1)?;
    let lock = bench.instance().acquire(&bench.component, "last", "last", LONG)?;
    same("how many are in the queue", &lock.queue.len(), &(RACERS + 1))
}
