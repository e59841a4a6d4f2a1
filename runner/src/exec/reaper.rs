//! Collects processes that ended.
//!
//! Each child is waited for by its id, so that children of libraries are left alone. As PID 1 of a container
//! the runner also inherits every orphan, and collects those, or they would stay as zombies.

use std::{
    collections::HashMap,
    io,
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Knows the running children.
#[derive(Clone, Default)]
pub struct Reaper {
    waiting: Arc<Mutex<Waiting>>,
}

type Waiting = HashMap<Pid, oneshot::Sender<WaitStatus>>;

impl Reaper {
    /// Starts collecting, on the current runtime. `adopt`: orphans are ours to collect, too.
    pub fn start(adopt: bool) -> io::Result<Self> {
        let reaper = Reaper::default();
        let mut ended = signal(SignalKind::child())?;
        let collector = reaper.clone();
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                if adopt {
                    collector.collect_all();
                } else {
                    collector.collect();
                }
            }
        });
        Ok(reaper)
    }

    /// Spawns, so that the child's end cannot be missed.
    pub(crate) fn spawn(
        &self,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> io::Result<(Pid, oneshot::Receiver<WaitStatus>)> {
        let mut waiting = self.lock();
        let child = spawn()?;
        let pid = Pid::from_child(&child);
        let (sender, receiver) = oneshot::channel();
        waiting.insert(pid, sender);
        Ok((pid, receiver))
    }

    /// Those that somebody waits for.
    fn collect(&self) {
        let mut waiting = self.lock();
        let ended = |pid: &Pid| rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG).ok().flatten();
        let dead: Vec<_> = waiting.keys().filter_map(ended).collect();
        for (pid, status) in dead {
            tell(&mut waiting, pid, status);
        }
    }

    /// Whoever ended, orphans among them, in whatever process group: each step has its own.
    fn collect_all(&self) {
        let mut waiting = self.lock();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            tell(&mut waiting, pid, status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(waiting: &mut Waiting, pid: Pid, status: WaitStatus) {
    if let Some(waiter) = waiting.remove(&pid) {
        // Nobody listens any more when the build was given up.
        let _ = waiter.send(status);
    }
}
