//! Collects processes that ended.
//!
//! Those that are started here are waited for by their ids. Orphans come to us, too: as PID 1 of a container
//! anyway, and elsewhere because we ask for it, so that what a step leaves behind can be found and ended. They
//! are collected, or they would stay as zombies. Children of libraries are left alone.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    libc,
    sys::wait::{Id, WaitPidFlag, WaitStatus as NixStatus},
};
use rustix::{
    event::EventfdFlags,
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus},
};
use signal_hook_registry::SigId;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
};

use super::{family, fledgling::Fledgling};

/// How a process ended, or why it never became its program.
pub(super) type End = io::Result<WaitStatus>;

/// Knows the running children.
#[derive(Clone, Default)]
pub(super) struct Reaper {
    waiting: Arc<Mutex<Waiting>>,
}

type Waiting = HashMap<Pid, (Fledgling, oneshot::Sender<End>)>;

impl Reaper {
    /// Starts collecting, on the current runtime.
    pub(super) fn start() -> io::Result<Self> {
        // Refused only by kernels of long ago; what leaves its step's group then outlives the build.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let reaper = Reaper::default();
        let bell = Bell::hang()?;
        let collector = reaper.clone();
        tokio::spawn(async move {
            while bell.rung().await.is_ok() {
                collector.collect();
            }
        });
        Ok(reaper)
    }

    /// Spawns, so that the child's end cannot be missed.
    pub(super) fn spawn(
        &self,
        spawn: impl FnOnce() -> io::Result<Fledgling>,
    ) -> io::Result<(Pid, oneshot::Receiver<End>)> {
        let mut waiting = self.lock();
        let fledgling = spawn()?;
        let pid = fledgling.pid();
        let (sender, receiver) = oneshot::channel();
        waiting.insert(pid, (fledgling, sender));
        Ok((pid, receiver))
    }

    /// Those that somebody waits for, then orphans.
    fn collect(&self) {
        let mut waiting = self.lock();
        loop {
            let candidates = match dead_child() {
                Dead::Nobody => return,
                Dead::Child(pid) if waiting.contains_key(&pid) => vec![pid],
                // Ours may be behind it.
                Dead::Child(_) | Dead::Unknown => waiting.keys().copied().collect(),
            };
            let ended = |pid: Pid| rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten();
            let dead: Vec<_> = candidates.into_iter().filter_map(ended).collect();
            // Who it is that ended besides takes a look at all processes.
            if dead.is_empty() {
                for pid in family::dead_orphans(|pid| waiting.contains_key(&pid)) {
                    let _ = ended(pid);
                }
                return;
            }
            for (pid, status) in dead {
                if let Some((fledgling, waiter)) = waiting.remove(&pid) {
                    // Nobody listens any more when the build was given up.
                    let _ = waiter.send(fledgling.ended(status));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rings when a child ended. The runtime's own stream of signals is told of each by a socket, which takes longer than an event.
struct Bell {
    event: AsyncFd<Arc<OwnedFd>>,
    handler: SigId,
}

impl Bell {
    fn hang() -> io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let event = Arc::new(event);
        let ringer = event.clone();
        let ring = move || {
            // Refused only when it rang more often than can be counted.
            let _ = rustix::io::write(&*ringer, &1_u64.to_ne_bytes());
        };
        #[allow(unsafe_code, reason = "no crate knows what the two may be given")]
        // SAFETY: the event is the same and open as long as it is owned. A handler of signals may ask the system to write, and
        // this one leaves no error in the memory of the thread.
        let (event, handler) = unsafe {
            let event = AsyncFd::register_with_interest(event, Interest::READABLE)?;
            (event, signal_hook_registry::register(libc::SIGCHLD, ring)?)
        };
        Ok(Bell { event, handler })
    }

    /// Waits until it rang, once or more often, since the last time. The runtime hears of each time that the event is written
    /// to, so that it need not be read.
    async fn rung(&self) -> io::Result<()> {
        self.event.readable().await?.clear_ready();
        Ok(())
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        signal_hook_registry::unregister(self.handler);
    }
}

/// A child that ended and was not collected.
enum Dead {
    Nobody,
    Child(Pid),
    /// One that ended by a signal that has no name.
    Unknown,
}

/// The first that is found. rustix does not say which it is.
fn dead_child() -> Dead {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match nix::sys::wait::waitid(Id::All, look) {
        Ok(NixStatus::StillAlive) | Err(nix::Error::ECHILD) => Dead::Nobody,
        Ok(status) => {
            status.pid().and_then(|pid| Pid::from_raw(pid.as_raw())).map_or(Dead::Unknown, Dead::Child)
        }
        Err(_) => Dead::Unknown,
    }
}

/// Whether there is any child, dead or alive.
pub(super) fn has_child() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::All, look), Err(Errno::CHILD))
}
