//! Who may write a build.

use super::{
    Checked,
    bench::{Bench, LONG, events, holds, pause, same, same_events},
    instance::Instance,
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::Status,
    exports::dcd::plugin::history::{Grant, Lease, NewBuild, WriteOutcome},
};

/// A lease that a check outlives.
const SHORT: u32 = 1000;

pub(super) fn renewed(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let grant = one.begin(&NewBuild { lease_ttl_ms: 30_000, ..bench.build() })?;
    let Some(lease) = one.renew(&grant, LONG)? else {
        return Err("a lease that was just given is called lost".to_owned());
    };
    let (before, after) = (grant.lease.expires_at, lease.expires_at);
    holds(after > before + 60_000, || {
        format!("it ended at {before}, and ends at {after} after {LONG} ms more")
    })?;
    same("its end in the record", &one.record(&grant.build)?.lease_expires_at, &after)?;
    same("the fence of the renewed lease", &lease.fence, &grant.lease.fence)?;
    same("its token", &lease.token, &grant.lease.token)?;
    same("appending with it", &one.append(&grant, &events(0..2))?, &WriteOutcome::Stored(2))
}

pub(super) fn wrong(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let grant = one.begin(&bench.build())?;
    for token in ["", "never-given"] {
        let lease = Lease { token: token.to_owned(), ..grant.lease.clone() };
        refused(&mut one, &Grant { lease, ..grant.clone() })?;
    }
    same("appending with the right one", &one.append(&grant, &events(0..2))?, &WriteOutcome::Stored(2))
}

pub(super) fn fenced(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let build = bench.build();
    let old = one.begin(&build)?;
    same("appending", &one.append(&old, &events(0..2))?, &WriteOutcome::Stored(2))?;
    let new = other.begin(&build)?;
    taken_over(&mut one, &old, &mut other, &new)
}

pub(super) fn stolen(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let build = NewBuild { lease_ttl_ms: SHORT, ..bench.build() };
    let old = one.begin(&build)?;
    same("appending", &one.append(&old, &events(0..2))?, &WriteOutcome::Stored(2))?;
    pause(u64::from(SHORT) + 500);
    let record = other.get(&old.build)?.ok_or("get-build: the build is gone")?;
    holds(record.lease_expires_at < record.as_of, || {
        format!(
            "its lease of {SHORT} ms is said to last until {}, and it is {} there",
            record.lease_expires_at, record.as_of
        )
    })?;
    same("the status of a lost build", &record.status, &Status::Running)?;
    let new = other.begin(&NewBuild { lease_ttl_ms: LONG, ..build })?;
    taken_over(&mut one, &old, &mut other, &new)
}

/// Two events are stored; then `other` has taken the build over from `one`.
fn taken_over(one: &mut Instance, old: &Grant, other: &mut Instance, new: &Grant) -> Checked {
    same("the build", &new.build, &old.build)?;
    same("the first event to send", &new.next_seq, &2)?;
    let (before, after) = (old.lease.fence, new.lease.fence);
    holds(after > before, || format!("the fence was {before} and is {after}; it must rise"))?;
    refused(one, old)?;
    same("appending with the new lease", &other.append(new, &events(2..4))?, &WriteOutcome::Stored(4))?;
    refused(one, old)?;
    let (all, _) = other.read_all(&new.build, None, 100)?;
    same_events("what is stored", &all, &events(0..4))?;
    same("finishing with it", &other.finish(new, 4, Status::Success, 5)?, &WriteOutcome::Stored(4))
}

/// A lease that does not hold: nothing can be done with it, and nothing is changed.
fn refused(one: &mut Instance, grant: &Grant) -> Checked {
    let before = one.record(&grant.build)?;
    let answer = one.append(grant, &events(before.next_seq..before.next_seq + 1))?;
    same("appending with a lease that does not hold", &answer, &WriteOutcome::Fenced)?;
    let answer = one.finish(grant, before.next_seq, Status::Success, 9)?;
    same("finishing with it", &answer, &WriteOutcome::Fenced)?;
    let renewed = one.renew(grant, LONG)?;
    holds(renewed.is_none(), || format!("renewing it: got {renewed:?}, expected none"))?;
    same("the record after that", &one.record(&grant.build)?, &before)
}
