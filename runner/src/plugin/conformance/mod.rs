//! What is expected of a history backend, check by check, through the real host.
//!
//! Each check works in components of its own, whose names begin with one of this run: so the suite can be run against
//! a server that others use, and again. What it leaves there are a few dozen small builds.

mod bench;
mod clocks;
mod events;
mod finish;
mod instance;
mod leases;
mod lists;
mod locks;
mod numbers;
mod prune;
mod volume;

use std::time::{Duration, Instant};

pub use bench::Racers;
use bench::{Bench, build_of};
use instance::Instance;

use crate::{
    engine::ports::backend::BackendError,
    plugin::{Host, backend::HistoryPlugin},
};

/// What a message shows of a value that should be another.
const SHOWN: usize = 400;

/// The optional operations that a backend may name.
const LOCKS: &str = "locks";

type Checked = Result<(), String>;

/// One thing that is expected.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What is expected, in a sentence.
    pub about: &'static str,
    /// The optional operation without which it is skipped.
    needs: Option<&'static str>,
    run: fn(&Bench) -> Checked,
}

/// What came of a check.
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// How it went.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Not as expected: why.
    Failed(String),
    /// Not tried: why.
    Skipped(String),
}

macro_rules! checks {
    ($($name:literal $(($needs:ident))? $about:literal $run:path;)*) => {
        &[$(Check {
            name: $name,
            about: $about,
            needs: checks!(@needs $($needs)?),
            run: $run,
        }),*]
    };
    (@needs) => { None };
    (@needs $needs:ident) => { Some($needs) };
}

/// All of them, in the order in which a newcomer would make them pass.
pub static CHECKS: &[Check] = checks! {
    "check" "`check` succeeds on a backend that works" numbers::check;
    "numbers-from-1" "a component's builds get the numbers 1, 2, 3" numbers::from_one;
    "numbers-per-component" "each component's numbers count for themselves" numbers::per_component;
    "record-kept" "a build's record is kept as it was given, its metadata to the byte" numbers::record;
    "build-unknown" "`get-build` has none of a build that was never begun" numbers::unknown;
    "begin-repeated" "a run that is begun again keeps its number; its new lease has a higher fence" numbers::repeated;
    "begin-answer-lost" "a run whose number was given, but never heard of, gets it from another instance" numbers::answer_lost;
    "numbers-instances" "instances that begin builds at the same time get numbers without a gap or a duplicate" numbers::instances;
    "numbers-race" "32 processes that begin builds at the same time get numbers without a gap or a duplicate" numbers::race;
    "append-contiguous" "events that follow each other are stored, and read as they were" events::contiguous;
    "append-repeated" "a batch that is sent again is stored once" events::repeated;
    "append-overlapping" "of a batch that overlaps what is stored, the rest is stored" events::overlapping;
    "append-gapped" "a batch past the tail is answered with `gap` and the tail, and nothing of it is kept" events::gapped;
    "append-reordered" "batches that come in the wrong order are stored when they are sent again in the right one" events::reordered;
    "kinds-kept" "unknown kinds, odd steps and payloads are kept to the byte" events::kinds;
    "payload-1-mib" "payloads of 1 MiB, as bytes and as JSON, are kept" events::large;
    "append-many" "a thousand events in one batch are kept" events::many;
    "read-paged" "pages are as long as was asked for, and lead on without a gap or a duplicate" events::paged;
    "read-step" "with a step, only its events are read" events::of_step;
    "read-follows" "what is appended to a running build is read from where the last page ended" events::follows;
    "events-10000" "10,000 events in batches of 512 KiB, as runners send them, are kept" volume::ten_thousand;
    "build-64-mib" "64 MiB of output in batches of 512 KiB are kept to the byte" volume::large_build;
    "lease-renewed" "a renewed lease lasts longer, and still writes" leases::renewed;
    "lease-wrong" "a lease that was never given writes nothing and is not renewed" leases::wrong;
    "writer-fenced" "whose build another took over can neither append, finish nor renew" leases::fenced;
    "lease-stolen" "a build whose lease ran out is shown so, and is another's who begins it again" leases::stolen;
    "finish-kept" "a build's end is kept with each status, and its events can be read to their end" finish::kept;
    "finish-gapped" "a build with missing events is not finished, and then is" finish::gapped;
    "finish-repeated" "finishing again, and appending again what is stored, is answered as before" finish::repeated;
    "summary-kept" "the summary that a build is finished with is kept to the byte" finish::summary;
    "prune-output" "output can be dropped of builds that are over; all else is kept" prune::output;
    "prune-lost" "output can be dropped of a build whose runner was lost, which may go on after that" prune::lost;
    "list-newest-first" "a component's builds are listed newest first, with their records" lists::newest_first;
    "list-paged" "pages of a list are as long as was asked for, and have each build once" lists::paged;
    "list-grows" "while builds begin, the pages have each earlier build once" lists::grows;
    "list-filtered" "filters by component, status, start and metadata let through what they should" lists::filtered;
    "list-everywhere" "without a component, builds of all are listed, by any instance" lists::everywhere;
    "clock-leases" "where machines' clocks are ten minutes apart, builds are lost when their leases ran out, and not before" clocks::leases;
    "clock-numbers" "where machines' clocks are ten minutes apart, numbers and events are in order" clocks::numbers;
    "lock-exclusive" (LOCKS) "a lock that one holds others wait for, until it is released" locks::exclusive;
    "lock-queued" (LOCKS) "who asked first holds the lock first; who leaves the queue is not waited for" locks::queued;
    "lock-repeated" (LOCKS) "who never heard of its place in the queue gets it again" locks::repeated;
    "lock-expires" (LOCKS) "a place that ran out is another's, and cannot be renewed or released" locks::expires;
    "lock-listed" (LOCKS) "the locks that are held are listed by name, with their queues" locks::listed;
    "lock-renewed" (LOCKS) "a renewed lock lasts longer" locks::renewed;
    "clock-locks" (LOCKS) "where machines' clocks are ten minutes apart, a lock is its holder's until that is gone" clocks::locks;
    "lock-race" (LOCKS) "of instances that want a lock at the same time one gets it" locks::race;
};

/// Runs the checks that are chosen, one after the other, in components that begin with `prefix`; `racers` are processes of
/// their own. `tell` hears of each check. An error: the backend cannot be opened.
pub fn run(
    host: &Host,
    plugin: &HistoryPlugin,
    prefix: &str,
    racers: &Racers,
    chosen: impl Fn(&Check) -> bool,
    mut tell: impl FnMut(Finding),
) -> Result<(), BackendError> {
    let features = host.block_on(plugin.another().features())?;
    for check in CHECKS.iter().filter(|check| chosen(check)) {
        let start = Instant::now();
        let verdict = match check.needs {
            Some(feature) if !features.iter().any(|named| named == feature) => {
                Verdict::Skipped(format!("the backend's features do not name `{feature}`"))
            }
            _ => {
                let component = format!("{prefix}/{}", check.name);
                let bench = Bench::new(plugin.another(), host.handle(), racers.clone(), component);
                (check.run)(&bench).map_or_else(Verdict::Failed, |()| Verdict::Passed)
            }
        };
        tell(Finding { check, verdict, took: start.elapsed() });
    }
    Ok(())
}

/// Begins builds of a component, one after the other, and tells their numbers: what a racer does.
pub fn begin(
    host: &Host,
    plugin: &HistoryPlugin,
    component: &str,
    builds: usize,
    mut tell: impl FnMut(u64),
) -> Checked {
    let mut instance = Instance::new(plugin.another(), host.handle());
    for _ in 0..builds {
        tell(instance.begin(&build_of(component))?.build.number);
    }
    Ok(())
}
