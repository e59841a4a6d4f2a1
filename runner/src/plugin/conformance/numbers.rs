//! Beginning builds: numbers, and the records that they begin with.

use std::{
    collections::HashSet,
    process::{Child, Stdio},
    thread,
};

use super::{
    Checked,
    bench::{Bench, LONG, build_of, events, holds, same},
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{Build, BuildId, Status},
    exports::dcd::plugin::history::{NewBuild, WriteOutcome},
};

/// How many instances race, and how many builds each begins.
const RACERS: usize = 4;
const LAPS: usize = 8;
/// The same for processes: enough to meet each other, and few enough for a slow server.
const PROCESSES: usize = 32;
const BUILDS: usize = 4;
/// How long beginning a build and looking at it may take.
const PATIENCE_MS: u64 = 60_000;

pub(super) fn check(bench: &Bench) -> Checked {
    bench.instance().check()
}

pub(super) fn from_one(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    for number in 1..=3 {
        let grant = one.begin(&bench.build())?;
        same("the build", &grant.build, &BuildId { component: bench.component.clone(), number })?;
        same("the first event to send", &grant.next_seq, &0)?;
        holds(!grant.lease.token.is_empty(), || "the lease has an empty token".to_owned())?;
        let (now, expires) = (one.now(&grant.build)?, grant.lease.expires_at);
        let latest = now + u64::from(LONG);
        holds((latest - PATIENCE_MS..=latest).contains(&expires), || {
            format!("the lease of {LONG} ms ends at {expires}, and now it is {now} there")
        })?;
    }
    Ok(())
}

pub(super) fn per_component(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    for name in ["a", "A", "a.b", "a/b", "a_b", "a-b", "a/b/1"] {
        let build = build_of(&format!("{}/{name}", bench.component));
        let first = one.begin(&build)?;
        same(&format!("the first number of {}", build.component), &first.build.number, &1)?;
        same("its component", &first.build.component, &build.component)?;
        let record = one.record(&first.build)?;
        same("its id", &record.run_id, &build.run_id)?;
    }
    // The same run of another component is another build.
    let build = bench.build();
    one.begin(&build)?;
    let other = NewBuild { component: format!("{}/other", bench.component), ..build };
    one.begin(&build_of(&other.component))?;
    same("the number of a run that another component has, too", &one.begin(&other)?.build.number, &2)
}

pub(super) fn record(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let metadata = "{ \"z\": 1,\t\"a\": [1.0, -0, 1e3],\n \"text\": \"grüezi \\u0000 \\\\ \\\"\u{1f980}\" }";
    let build = NewBuild { metadata: metadata.to_owned(), started_at: 1_763_000_000_123, ..bench.build() };
    let grant = one.begin(&build)?;
    let expected = Build {
        id: grant.build.clone(),
        run_id: build.run_id,
        status: Status::Running,
        started_at: build.started_at,
        finished_at: None,
        lease_expires_at: grant.lease.expires_at,
        as_of: 0,
        next_seq: 0,
        metadata: build.metadata,
        summary: None,
        pruned: false,
    };
    same("the record", &one.record(&grant.build)?, &expected)?;
    same("the record, to another instance", &bench.instance().record(&grant.build)?, &expected)
}

pub(super) fn unknown(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let id = |component: &str, number| BuildId { component: component.to_owned(), number };
    let never = format!("{}/never", bench.component);
    same("a build of an unknown component", &one.get(&id(&never, 1))?, &None)?;
    one.begin(&bench.build())?;
    same("a number that was not given", &one.get(&id(&bench.component, 2))?, &None)
}

pub(super) fn repeated(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let build = bench.build();
    let first = one.begin(&build)?;
    same("events that were appended", &one.append(&first, &events(0..2))?, &WriteOutcome::Stored(2))?;
    let again = one.begin(&build)?;
    same("the build", &again.build, &first.build)?;
    same("the first event to send", &again.next_seq, &2)?;
    let (before, after) = (first.lease.fence, again.lease.fence);
    holds(after > before, || format!("the fence was {before} and is {after}; it must rise"))?;
    same("the next run's number", &one.begin(&bench.build())?.build.number, &2)
}

pub(super) fn answer_lost(bench: &Bench) -> Checked {
    let build = bench.build();
    let mut one = bench.instance();
    one.begin(&bench.build())?;
    let lost = one.begin(&build)?;
    let mut other = bench.instance();
    let grant = other.begin(&build)?;
    same("the build", &grant.build, &lost.build)?;
    same("events of its new lease", &other.append(&grant, &events(0..1))?, &WriteOutcome::Stored(1))?;
    same("the next run's number", &other.begin(&bench.build())?.build.number, &3)
}

pub(super) fn instances(bench: &Bench) -> Checked {
    let racer = |_| {
        let mut instance = bench.instance();
        let builds: Vec<_> = (0..LAPS).map(|_| bench.build()).collect();
        thread::spawn(move || {
            let mut numbers = Vec::new();
            for build in &builds {
                numbers.push(instance.begin(build)?.build.number);
            }
            Ok::<_, String>(numbers)
        })
    };
    let racers: Vec<_> = (0..RACERS).map(racer).collect();
    let mut numbers = Vec::new();
    for racer in racers {
        let own = racer.join().map_err(|_| "an instance panicked")??;
        holds(own.is_sorted_by(|one, next| one < next), || {
            format!("one instance got the numbers {own:?} in this order")
        })?;
        numbers.extend(own);
    }
    numbers.sort_unstable();
    same("all numbers", &numbers, &(1..=(RACERS * LAPS) as u64).collect())
}

pub(super) fn race(bench: &Bench) -> Checked {
    let mut racers = Vec::new();
    for _ in 0..PROCESSES {
        let mut command = bench.racer(BUILDS)?;
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        racers.push(started.map_err(|error| format!("a process cannot be started: {error}"))?);
    }
    // All are waited for, also when one failed.
    let numbers: Vec<_> = racers.into_iter().map(numbers_of).collect();
    let mut all = Vec::new();
    for own in numbers {
        let own = own?;
        holds(own.is_sorted_by(|one, next| one < next), || {
            format!("one process got the numbers {own:?} in this order")
        })?;
        all.extend(own);
    }
    all.sort_unstable();
    same("all numbers", &all, &(1..=(PROCESSES * BUILDS) as u64).collect())?;
    let mut one = bench.instance();
    let mut runs = HashSet::new();
    for number in all {
        runs.insert(one.record(&BuildId { component: bench.component.clone(), number })?.run_id);
    }
    same("how many builds there are", &runs.len(), &(PROCESSES * BUILDS))
}

/// What a process printed.
fn numbers_of(racer: Child) -> Result<Vec<u64>, String> {
    let output = racer.wait_with_output().map_err(|error| format!("a process is lost: {error}"))?;
    if !output.status.success() {
        return Err(format!("a process failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let numbers: Option<Vec<u64>> = printed.lines().map(|line| line.parse().ok()).collect();
    numbers.ok_or_else(|| format!("a process printed {printed:?}"))
}
