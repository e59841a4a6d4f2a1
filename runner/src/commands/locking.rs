//! Waiting for a pipeline's lock.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use crate::{
    commands::steps::BuildContext,
    event::{Body, LockAcquired, LockWaiting},
    lock::{Holder, Ticket},
    owner::Owner,
    text,
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
}

/// How the wait for a lock ended.
pub(super) enum Waited {
    /// It is held as long as the ticket is kept.
    Held(Ticket),
    /// A signal came.
    Interrupted(i32),
}

impl LockRequest {
    pub(super) fn new(name: String, limit: Option<Duration>, context: &BuildContext) -> Self {
        LockRequest {
            name,
            limit,
            directory: directory(&context.workspace),
            owner: Owner::of(&context.workspace),
            holder: holder(context),
        }
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("the lock `{}` cannot be had in {}: {error}", self.name, self.directory.display())
    }
}

/// Waits. What happens meanwhile is told to `tell`; the inner error says why the lock was not had.
pub(super) async fn wait<E>(
    request: &LockRequest,
    interrupts: &mut mpsc::UnboundedReceiver<i32>,
    mut tell: impl FnMut(Body) -> Result<(), E>,
) -> Result<Result<Waited, String>, E> {
    let LockRequest { name, limit, directory, owner, holder } = request;
    let started = Instant::now();
    let ticket = match Ticket::draw(directory, name, holder, *owner) {
        Ok(ticket) => ticket,
        Err(error) => return Ok(Err(request.failed(&error))),
    };
    let mut told: Option<Holder> = None;
    loop {
        let ahead = match ticket.ahead(*owner) {
            Ok(Some(ahead)) => ahead,
            Ok(None) => {
                let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                tell(Body::LockAcquired(LockAcquired { lock: name.clone(), waited_ms }))?;
                return Ok(Ok(Waited::Held(ticket)));
            }
            Err(error) => return Ok(Err(request.failed(&error))),
        };
        if std::env::var("DCD_BUILD_ID").is_ok_and(|around| around == ahead.build) {
            let who = &ahead.who;
            return Ok(Err(format!(
                "the lock `{name}` is held by {who}, in a step of which this build runs"
            )));
        }
        if told.as_ref() != Some(&ahead) {
            let since = (ahead.since > 0).then_some(ahead.since);
            tell(Body::LockWaiting(LockWaiting { lock: name.clone(), holder: ahead.who.clone(), since }))?;
            told = Some(ahead.clone());
        }
        let left = limit.map_or(LOOK, |limit| limit.saturating_sub(started.elapsed()).min(LOOK));
        if let (true, Some(limit)) = (left.is_zero(), *limit) {
            let waited = text::duration(limit);
            return Ok(Err(format!(
                "the lock `{name}` was not free within {waited}: {} holds it",
                ahead.who
            )));
        }
        tokio::select! {
            Some(signal) = interrupts.recv() => return Ok(Ok(Waited::Interrupted(signal))),
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// Where the locks are: those of the workspace, unless the machine's are named.
fn directory(workspace: &Path) -> PathBuf {
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
    }
}
