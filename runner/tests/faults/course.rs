//! A fault run: builds, and beside them everything that goes wrong.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    backend::{Backend, Fault},
    field::Field,
    plan::{self, Harm, Setting, WORKSPACES},
    run::{self, Ran, Synced},
};

/// How many builds run at the same time.
const AT_ONCE: usize = 4;
/// How often each workspace is synced at the end, at most, once nothing goes wrong any more.
const SYNCS: u32 = 10;
/// How long an outage that has to hit somebody lasts at most.
const LONGEST: Duration = Duration::from_secs(20);

/// What there is to count.
#[derive(Default)]
pub(crate) struct Happened {
    /// Every build's process.
    pub(crate) runs: Vec<Ran>,
    /// How often each kind of fault hit.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What could not be tried, and why.
    pub(crate) untried: BTreeMap<&'static str, String>,
    /// How many syncs ran beside the builds, and after them.
    pub(crate) syncs: u64,
    /// What the workspaces still had to send at the end, as the last sync said; nothing, if all went well.
    pub(crate) left: Vec<String>,
    pub(crate) took: Duration,
}

/// Faults that are none of the backend's or of a run's.
const SYNC_KILLED: &str = "history sync killed (SIGKILL)";

/// A run that is under way.
struct Course<'a> {
    field: &'a Field,
    backend: &'a dyn Backend,
    setting: Setting,
    next: AtomicU64,
    /// How many builds run.
    running: AtomicU64,
    /// Every kind of fault was met.
    all_met: AtomicBool,
    over: AtomicBool,
    happened: Mutex<Happened>,
    started: Instant,
}

/// Runs builds and faults until there were enough of both, then sends what is left.
pub(crate) fn run(field: &Field, backend: &dyn Backend, setting: Setting) -> Happened {
    let course = Course {
        field,
        backend,
        setting,
        next: AtomicU64::new(0),
        running: AtomicU64::new(0),
        all_met: AtomicBool::new(false),
        over: AtomicBool::new(false),
        happened: Mutex::default(),
        started: Instant::now(),
    };
    course.prepare();
    thread::scope(|scope| {
        let builders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| course.build())).collect();
        let beside = [scope.spawn(|| course.break_backend()), scope.spawn(|| course.sync_beside())];
        let built: Vec<_> = builders.into_iter().map(thread::ScopedJoinHandle::join).collect();
        course.over.store(true, Ordering::SeqCst);
        let ended: Vec<_> = beside.into_iter().map(thread::ScopedJoinHandle::join).collect();
        for result in built.into_iter().chain(ended) {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    course.send_the_rest();
    let mut happened = course.happened.into_inner().unwrap();
    happened.runs.sort_by_key(|ran| ran.plan.index);
    happened.took = course.started.elapsed();
    happened
}

impl Course<'_> {
    /// All kinds of faults, none of which happened yet.
    fn prepare(&self) {
        let mut happened = self.happened.lock().unwrap();
        let of_backend = self.backend.faults().into_iter().map(Fault::name);
        happened.faults = of_backend.chain(Harm::KINDS).chain([SYNC_KILLED]).map(|kind| (kind, 0)).collect();
        happened.untried = self.backend.untried();
        if let Err(why) = &self.field.disk {
            happened.untried.insert(Harm::FULL, why.clone());
        }
        let Happened { faults, untried, .. } = &mut *happened;
        faults.retain(|kind, _| !untried.contains_key(kind));
    }

    fn met(&self, kind: &'static str, times: u64) {
        let mut happened = self.happened.lock().unwrap();
        *happened.faults.entry(kind).or_default() += times;
        if happened.faults.values().all(|times| *times > 0) {
            self.all_met.store(true, Ordering::SeqCst);
        }
    }

    /// Whether another build is to be run: none is needed, all is met and the time is over.
    fn is_enough(&self, index: u64) -> bool {
        let Setting { builds, time, .. } = self.setting;
        let most = self.started.elapsed() > (time * 3).max(Duration::from_mins(4));
        most || (index >= builds && self.started.elapsed() >= time && self.all_met.load(Ordering::SeqCst))
    }

    fn build(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::SeqCst);
            if self.is_enough(index) || self.over.load(Ordering::SeqCst) {
                return;
            }
            self.running.fetch_add(1, Ordering::SeqCst);
            let ran = run::build(self.field, plan::build(self.setting, index));
            self.running.fetch_sub(1, Ordering::SeqCst);
            if let (Some(kind), true) = (ran.plan.harm.kind(), ran.harmed) {
                self.met(kind, 1);
            }
            self.happened.lock().unwrap().runs.push(ran);
        }
    }

    /// Sleeps, but not beyond the end.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn break_backend(&self) {
        for round in 0.. {
            for outage in plan::outages(self.setting, round, &self.backend.faults()) {
                self.pause(outage.pause);
                // An outage that nobody can notice is none.
                let until = Instant::now() + LONGEST;
                let mut hits = 0;
                while hits == 0 && Instant::now() < until && !self.over.load(Ordering::SeqCst) {
                    if self.running.load(Ordering::SeqCst) > 0 {
                        hits = self.backend.suffer(outage.fault, outage.time);
                    } else {
                        self.pause(Duration::from_millis(10));
                    }
                }
                // Of answers each one counts, of the others each time that somebody felt it.
                let times = if outage.fault == Fault::AnswersLost { hits } else { hits.min(1) };
                self.met(outage.fault.name(), times);
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
    }

    fn sync_beside(&self) {
        for index in 0.. {
            let plan = plan::sync(self.setting, index);
            self.pause(plan.pause);
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            self.sync(plan.workspace, plan.kill);
        }
    }

    fn sync(&self, workspace: usize, kill: Option<Duration>) -> Option<(i32, String)> {
        let synced = run::sync(self.field, workspace, kill);
        self.happened.lock().unwrap().syncs += 1;
        match synced {
            Synced::Killed => {
                self.met(SYNC_KILLED, 1);
                None
            }
            Synced::Ended(code, said) => Some((code, said)),
        }
    }

    /// Nothing goes wrong any more: what is left is sent. One that is killed does not harm that.
    fn send_the_rest(&self) {
        for workspace in 0..WORKSPACES {
            self.sync(workspace, Some(Duration::from_millis(50 + 100 * workspace as u64)));
            let mut last = String::new();
            let done = (0..SYNCS).any(|_| {
                let Some((code, said)) = self.sync(workspace, None) else { return false };
                let done = code == 0 && said.contains(" has all builds of this workspace");
                last = format!("workspace {workspace}, exit code {code}: {said}");
                done
            });
            if !done {
                self.happened.lock().unwrap().left.push(last);
            }
        }
    }
}
