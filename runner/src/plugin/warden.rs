//! What all that serves one instance of a plugin goes by, and notes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    event::{PluginUsed, StepLog},
    plugin::{Grants, Usage, guest::Io},
};

/// Knows what an instance may do, and what it did. Its clones are one.
#[derive(Clone)]
pub(crate) struct Warden {
    pub(crate) name: Arc<str>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) io: Io,
    pub(crate) usage: Usage,
    connections: Arc<Semaphore>,
    notes: Arc<Mutex<Notes>>,
}

/// What people are told of an instance when its work is over.
#[derive(Default)]
pub(crate) struct Notes {
    /// What was refused to it last.
    pub(crate) refused: Option<String>,
    /// What was refused to it, and not said yet.
    pub(crate) unsaid: Vec<String>,
    /// What its panic said, and where.
    pub(crate) panic: Option<String>,
}

impl Warden {
    pub(crate) fn new(name: Arc<str>, grants: Arc<Grants>, io: Io) -> Self {
        let connections = Semaphore::new(grants.limits().connections as usize);
        let usage = Usage::new(&name);
        Warden { name, grants, io, usage, connections: Arc::new(connections), notes: Arc::default() }
    }

    /// Notes there what is made use of: one plugin's instances come and go.
    pub(crate) fn noting_in(self, usage: &Usage) -> Self {
        Warden { usage: usage.clone(), ..self }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is made use of.
    pub(crate) fn used(&self, kind: impl FnOnce(&mut PluginUsed) -> &mut BTreeSet<String>, what: &str) {
        self.usage.add(kind, what);
    }

    /// Notes what a panic said.
    pub(crate) fn panicked(&self, said: String) {
        self.notes().panic = Some(said);
    }

    /// What a panic said.
    pub(crate) fn panic(&self) -> Option<String> {
        self.notes().panic.clone()
    }

    /// Says at once that something was refused.
    pub(crate) async fn refuse(&self, reason: String) {
        self.notes().refused = Some(reason.clone());
        self.io.log(refusal(reason)).await;
    }

    /// Notes that something was refused. It is said at the end, unless the step's problem says it.
    pub(crate) fn note_refusal(&self, reason: String) {
        let mut notes = self.notes();
        if !notes.unsaid.contains(&reason) && notes.unsaid.len() < UNSAID {
            notes.unsaid.push(reason.clone());
        }
        notes.refused = Some(reason);
    }

    /// The right to one more connection, as long as it is held; or why there is none.
    pub(crate) fn connection(&self) -> Result<OwnedSemaphorePermit, String> {
        let permit = self.connections.clone().try_acquire_owned();
        permit.map_err(|_| {
            let limit = self.grants.limits().connections;
            let raise = self.grants.raise("connections", &(limit * 2).to_string());
            format!("plugin {} has {limit} connections open, which is its limit; {raise}", self.name)
        })
    }

    /// What was noted so far.
    pub(crate) fn take_notes(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }
}

/// How many different refusals are kept to be said later.
const UNSAID: usize = 20;

/// A refusal in the step's log.
pub(crate) fn refusal(reason: String) -> StepLog {
    StepLog { level: "error".to_owned(), message: reason, fields: Vec::new() }
}
