//! Waiting for a pipeline's lock: one that its history backend keeps, or one of this machine.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    commands::{output::warn, steps::BuildContext},
    engine::{
        GRACE, Late,
        ports::backend::{Answer, Backend, BackendError},
    },
    event::{Body, LockAcquired, LockWaiting},
    history::{LOCK_TTL, LockKeeper, LockNews, WantedLock},
    lock::{Holder, Ticket},
    owner::Owner,
    plugin::{Host, backend::HistoryPlugin},
    redact::Redactor,
    signal, text,
};

/// How often a build that waits looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(200);

/// What is to be waited for.
pub(super) struct LockRequest {
    name: String,
    limit: Option<Duration>,
    directory: PathBuf,
    owner: Owner,
    holder: Holder,
    /// Who keeps the lock for all machines, if the pipeline has such a backend.
    backend: Option<(Handle, HistoryPlugin)>,
}

/// How the wait for a lock ended.
pub(super) enum Waited {
    /// It is held.
    Held(HeldLock),
    /// A signal came.
    Interrupted(i32),
}

/// A lock that is held.
pub(super) enum HeldLock {
    /// On this machine, as long as the ticket is kept.
    Here(Ticket),
    /// In the history backend.
    There(KeptLock),
}

/// A place in a backend's queue that is being kept. Given back when it is dropped, if there is time.
pub(super) struct KeptLock {
    name: String,
    backend: String,
    over: watch::Sender<bool>,
    news: mpsc::UnboundedReceiver<LockNews>,
    task: JoinHandle<Answer<()>>,
}

impl LockRequest {
    pub(super) fn new(name: String, limit: Option<Duration>, context: &BuildContext) -> Self {
        LockRequest {
            name,
            limit,
            directory: directory(&context.workspace),
            owner: Owner::of(&context.workspace),
            holder: holder(context),
            backend: None,
        }
    }

    /// Without what is secret: others are told of both.
    pub(super) fn masked(mut self, redactor: &Redactor) -> Self {
        redactor.string(&mut self.name);
        redactor.string(&mut self.holder.who);
        self
    }

    /// To be kept by the history backend, if it keeps locks.
    pub(super) fn kept_by(mut self, host: &Host, plugin: HistoryPlugin) -> Self {
        self.backend = Some((host.handle(), plugin));
        self
    }

    /// Waits. What happens meanwhile is told to `tell`; the inner error says why the lock was not had.
    pub(super) async fn wait<E>(
        mut self,
        interrupts: &mut mpsc::UnboundedReceiver<i32>,
        mut tell: impl FnMut(Body) -> Result<(), E>,
    ) -> Result<Result<Waited, String>, E> {
        let started = Instant::now();
        let Some((runtime, plugin)) = self.backend.take() else {
            return self.wait_here(started, None, interrupts, tell).await;
        };
        let mut kept = KeptLock::ask(&self, &runtime, plugin);
        match self.wait_there(&mut kept, started, interrupts, &mut tell).await? {
            There::Held => Ok(Ok(Waited::Held(HeldLock::There(kept)))),
            There::NoLocks => {
                let only_here = format!("history backend {} keeps no locks", kept.backend);
                self.wait_here(started, Some(only_here), interrupts, tell).await
            }
            There::Interrupted(signal) => {
                kept.give_back().await;
                Ok(Ok(Waited::Interrupted(signal)))
            }
            There::GivenUp(reason) => {
                kept.give_back().await;
                Ok(Err(reason))
            }
            // Its keeper leaves by itself. Should that not go well, it is no news.
            There::Refused(reason) => Ok(Err(reason)),
        }
    }

    async fn wait_there<E>(
        &self,
        kept: &mut KeptLock,
        started: Instant,
        interrupts: &mut mpsc::UnboundedReceiver<i32>,
        tell: &mut impl FnMut(Body) -> Result<(), E>,
    ) -> Result<There, E> {
        let by = Some(kept.backend.clone());
        let mut holder: Option<String> = None;
        loop {
            // Whether the lock is free is not known before the first answer.
            let limit = self.limit.filter(|_| holder.is_some()).map(|limit| started + limit);
            let news = tokio::select! {
                biased;
                Some(signal) = interrupts.recv() => return Ok(There::Interrupted(signal)),
                news = kept.news.recv() => news,
                () = until(limit) => {
                    return Ok(There::GivenUp(self.not_free(holder.as_deref().unwrap_or("somebody"))));
                }
            };
            let mut waiting =
                LockWaiting { lock: self.name.clone(), by: by.clone(), ..LockWaiting::default() };
            match news {
                Some(LockNews::Held) => {
                    tell(self.acquired(started, by, None))?;
                    return Ok(There::Held);
                }
                Some(LockNews::Waiting { holder: first, ahead }) => {
                    if is_around(&first.ticket) {
                        return Ok(There::GivenUp(self.around(&first.owner)));
                    }
                    holder = Some(first.owner.clone());
                    waiting.holder = first.owner;
                    waiting.since = Some(first.held_since.unwrap_or(first.since));
                    waiting.ahead = (ahead > 1).then(|| u64::try_from(ahead).unwrap_or(u64::MAX));
                }
                Some(LockNews::Unanswered(problem)) => {
                    waiting.holder = holder.clone().unwrap_or_default();
                    waiting.problem = Some(problem);
                }
                Some(LockNews::Refused(error)) if error.unsupported => return Ok(There::NoLocks),
                Some(LockNews::Refused(error)) => {
                    return Ok(There::Refused(self.refused(&kept.backend, error)));
                }
                Some(LockNews::Lost(reason)) => return Ok(There::Refused(reason)),
                None => {
                    return Ok(There::Refused(format!(
                        "the lock `{}` cannot be had: its keeper stopped",
                        self.name
                    )));
                }
            }
            tell(Body::LockWaiting(waiting))?;
        }
    }

    async fn wait_here<E>(
        &self,
        started: Instant,
        only_here: Option<String>,
        interrupts: &mut mpsc::UnboundedReceiver<i32>,
        mut tell: impl FnMut(Body) -> Result<(), E>,
    ) -> Result<Result<Waited, String>, E> {
        let LockRequest { name, limit, directory, owner, holder, .. } = self;
        let ticket = match Ticket::draw(directory, name, holder, *owner) {
            Ok(ticket) => ticket,
            Err(error) => return Ok(Err(self.failed(&error))),
        };
        let mut told: Option<Holder> = None;
        loop {
            let ahead = match ticket.ahead(*owner) {
                Ok(Some(ahead)) => ahead,
                Ok(None) => {
                    tell(self.acquired(started, None, only_here))?;
                    return Ok(Ok(Waited::Held(HeldLock::Here(ticket))));
                }
                Err(error) => return Ok(Err(self.failed(&error))),
            };
            if is_around(&ahead.build) {
                return Ok(Err(self.around(&ahead.who)));
            }
            if told.as_ref() != Some(&ahead) {
                let since = (ahead.since > 0).then_some(ahead.since);
                tell(Body::LockWaiting(LockWaiting {
                    lock: name.clone(),
                    holder: ahead.who.clone(),
                    since,
                    ..LockWaiting::default()
                }))?;
                told = Some(ahead.clone());
            }
            let left = limit.map_or(LOOK, |limit| limit.saturating_sub(started.elapsed()).min(LOOK));
            if left.is_zero() {
                return Ok(Err(self.not_free(&ahead.who)));
            }
            tokio::select! {
                Some(signal) = interrupts.recv() => return Ok(Ok(Waited::Interrupted(signal))),
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    fn acquired(&self, started: Instant, by: Option<String>, only_here: Option<String>) -> Body {
        let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Body::LockAcquired(LockAcquired { lock: self.name.clone(), waited_ms, by, only_here })
    }

    fn around(&self, who: &str) -> String {
        format!("the lock `{}` is held by {who}, in a step of which this build runs", self.name)
    }

    fn not_free(&self, who: &str) -> String {
        let waited = text::duration(self.limit.unwrap_or_default());
        format!("the lock `{}` was not free within {waited}: {who} holds it", self.name)
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("the lock `{}` cannot be had in {}: {error}", self.name, self.directory.display())
    }

    fn refused(&self, backend: &str, error: BackendError) -> String {
        let help = error.help.map_or_else(String::new, |help| format!(" (help: {help})"));
        let BackendError { message, .. } = error;
        format!("the lock `{}` cannot be had from history backend {backend}: {message}{help}", self.name)
    }
}

/// How the wait for a backend's lock ended.
enum There {
    Held,
    NoLocks,
    Interrupted(i32),
    /// Nobody wants to wait any longer.
    GivenUp(String),
    /// It will not be had.
    Refused(String),
}

impl HeldLock {
    /// Tells when the lock is lost.
    pub(super) fn watch(&mut self, late: mpsc::UnboundedSender<Late>) {
        let HeldLock::There(kept) = self else { return };
        let (_, none) = mpsc::unbounded_channel();
        let mut news = std::mem::replace(&mut kept.news, none);
        tokio::spawn(async move {
            while let Some(news) = news.recv().await {
                if let LockNews::Lost(reason) = news {
                    // A build that is over needs no lock.
                    let _ = late.send(Late::Cancel(reason));
                }
            }
        });
    }

    /// Lets the next one have it. A signal ends the wait for that.
    pub(super) async fn give_back(self) {
        match self {
            HeldLock::Here(ticket) => drop(ticket),
            HeldLock::There(kept) => kept.give_back().await,
        }
    }
}

impl KeptLock {
    fn ask(request: &LockRequest, runtime: &Handle, plugin: HistoryPlugin) -> Self {
        let wanted = WantedLock {
            name: request.name.clone(),
            ticket: request.holder.build.clone(),
            owner: request.holder.who.clone(),
            stopping: GRACE,
        };
        let backend = plugin.name().to_owned();
        let (sender, news) = mpsc::unbounded_channel();
        let (over, is_over) = watch::channel(false);
        let keeper = LockKeeper::new(backend.clone(), plugin, wanted, sender, is_over);
        KeptLock { name: request.name.clone(), backend, over, news, task: runtime.spawn(keeper.run()) }
    }

    async fn give_back(self) {
        let (name, backend) = (self.name.clone(), self.backend.clone());
        if let Some(problem) = self.finish().await {
            let ttl = LOCK_TTL.as_secs();
            warn(&format!(
                "the lock `{name}` could not be given back to history backend {backend}: {problem}\n\
                 It is free in {ttl} s at the latest."
            ));
        }
    }

    /// Leaves the queue; what is wrong with that.
    async fn finish(self) -> Option<String> {
        self.over.send_replace(true);
        let mut interrupts = match signal::interrupts() {
            Ok(interrupts) => interrupts,
            Err(error) => return Some(error.to_string()),
        };
        tokio::select! {
            ended = self.task => match ended {
                Ok(answer) => answer.err().map(|error| error.message),
                Err(error) => Some(error.to_string()),
            },
            Some(_) = interrupts.recv() => Some("the wait for it was interrupted".to_owned()),
        }
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

/// Whether this process runs in a step of that build.
fn is_around(build: &str) -> bool {
    std::env::var("DCD_BUILD_ID").is_ok_and(|around| around == build)
}

/// Where this machine's locks are: those of the workspace, unless others are named.
pub(super) fn directory(workspace: &Path) -> PathBuf {
    match std::env::var_os("DCD_LOCK_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory),
        _ => workspace.join(".dcd/locks"),
    }
}

fn holder(context: &BuildContext) -> Holder {
    let number = context.number.map_or_else(|| context.id.clone(), |number| format!("#{number}"));
    let user = context.facts.user.known().map_or_else(String::new, |user| format!(" of {}", user.name));
    let host = context.facts.host.known().map_or_else(String::new, |host| format!(" on {}", host.name));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Holder {
        who: format!("{} {number}{user}{host}", context.component),
        since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        build: context.id.clone(),
        container: context.facts.container.known().map(|container| container.id.clone()),
    }
}
