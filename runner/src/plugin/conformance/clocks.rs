//! Machines whose clocks are not right: by ten minutes, one ahead and one behind. Only the place's own clock counts.

use super::{
    Checked,
    bench::{Bench, LONG, events, holds, now, pause, same, same_events},
    instance::Instance,
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{BuildId, Status},
    exports::dcd::plugin::history::{NewBuild, WriteOutcome},
};

const TEN_MINUTES: i64 = 600_000;
/// A lease that a check outlives.
const SHORT: u32 = 3000;

/// Each with the difference of its clock, and what it is called.
fn machines(bench: &Bench) -> [(Instance, i64, &'static str); 3] {
    let machine = |ahead, name| (bench.instance_with_clock(ahead), ahead, name);
    [machine(TEN_MINUTES, "ahead"), machine(-TEN_MINUTES, "behind"), machine(0, "right")]
}

/// A build as the machine sees it, whose clock this is.
fn build(bench: &Bench, ahead: i64, lease_ttl_ms: u32) -> NewBuild {
    NewBuild { started_at: now().saturating_add_signed(ahead), lease_ttl_ms, ..bench.build() }
}

pub(super) fn leases(bench: &Bench) -> Checked {
    let mut machines = machines(bench);
    let (mut live, mut short) = (Vec::new(), Vec::new());
    for (machine, ahead, name) in &mut machines {
        live.push((machine.begin(&build(bench, *ahead, LONG))?, *name));
        let grant = machine.begin(&build(bench, *ahead, SHORT))?;
        let renewed = machine.renew(&grant, SHORT)?;
        holds(renewed.is_some(), || format!("a lease that was just given to the one {name} is called lost"))?;
        short.push((grant.build, *name));
    }
    pause(u64::from(SHORT) + 500);
    for (machine, _, reader) in &mut machines {
        for (grant, name) in &live {
            let what = format!(
                "whether a build that runs on a machine whose clock is {name} is lost, to one whose is {reader}"
            );
            same(&what, &machine.is_lost(&grant.build)?, &false)?;
            holds(machine.prune(&grant.build).is_err(), || {
                format!(
                    "one whose clock is {reader} dropped the output of a build that runs where it is {name}"
                )
            })?;
        }
        for (id, name) in &short {
            let what = format!(
                "whether a build that was left on a machine whose clock is {name} is lost, to one whose is {reader}"
            );
            same(&what, &machine.is_lost(id)?, &true)?;
        }
    }
    // By the machine that is ahead, the lease of the one behind would have ended long ago, and still it writes.
    let (grant, _) = &live[1];
    let renewed = machines[1].0.renew(grant, LONG)?;
    holds(renewed.is_some(), || "a lease that nobody took over is called lost".to_owned())?;
    same("appending with it", &machines[1].0.append(grant, &events(0..1))?, &WriteOutcome::Stored(1))
}

pub(super) fn numbers(bench: &Bench) -> Checked {
    let mut machines = machines(bench);
    for number in 1..=9 {
        let (machine, ahead, name) = &mut machines[number % 3];
        let grant = machine.begin(&build(bench, *ahead, LONG))?;
        same(&format!("the number that the one {name} gets"), &grant.build.number, &(number as u64))?;
    }
    let mut all: Vec<_> =
        machines[2].0.list_from(&bench.own(), 2, None)?.into_iter().map(|build| build.id.number).collect();
    all.sort_unstable();
    same("the numbers in the list, in pages", &all, &(1..=9).collect())?;

    // One build that goes from one to the other.
    let run = build(bench, 0, LONG);
    let id = BuildId { component: bench.component.clone(), number: 10 };
    for turn in 0..6 {
        let (machine, _, name) = &mut machines[usize::try_from(turn).unwrap_or_default() % 3];
        let grant = machine.begin(&run)?;
        same(&format!("the build that the one {name} takes over"), &grant.build, &id)?;
        let first = turn * 5;
        same("the first event to send", &grant.next_seq, &first)?;
        let answer = machine.append(&grant, &events(first..first + 5))?;
        same("appending", &answer, &WriteOutcome::Stored(first + 5))?;
        if turn == 5 {
            let answer = machine.finish(&grant, 30, Status::Success, run.started_at)?;
            same("finishing", &answer, &WriteOutcome::Stored(30))?;
        }
    }
    for (machine, ..) in &mut machines {
        same_events("what is read", &machine.read_all(&id, None, 7)?.0, &events(0..30))?;
    }
    Ok(())
}

pub(super) fn locks(bench: &Bench) -> Checked {
    let mut machines = machines(bench);
    for (holder, waiting) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let pair = format!("{} and {}", machines[holder].2, machines[waiting].2);
        let name = format!("{}/{pair}", bench.component);
        let mut ask = |at: usize, ticket: &str, ttl_ms: u32, expected: &[&str]| {
            let lock = machines[at].0.acquire(&name, ticket, ticket, ttl_ms)?;
            let tickets: Vec<_> = lock.queue.iter().map(|place| place.ticket.as_str()).collect();
            same(&format!("the queue of {pair} when {ticket} asks"), &tickets.as_slice(), &expected)
        };
        // Who holds it lives; then it dies.
        ask(holder, "holder", LONG, &["holder"])?;
        ask(waiting, "waiting", LONG, &["holder", "waiting"])?;
        ask(holder, "holder", SHORT, &["holder", "waiting"])?;
        ask(waiting, "waiting", LONG, &["holder", "waiting"])?;
    }
    pause(u64::from(SHORT) + 500);
    for (holder, waiting) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let pair = format!("{} and {}", machines[holder].2, machines[waiting].2);
        let lock = machines[waiting].0.acquire(
            &format!("{}/{pair}", bench.component),
            "waiting",
            "waiting",
            LONG,
        )?;
        same(&format!("who is first of {pair} later"), &lock.queue[0].ticket.as_str(), &"waiting")?;
        same(&format!("how many wait of {pair} later"), &lock.queue.len(), &1)?;
    }
    Ok(())
}
