//! The backends that builds are sent to, and that are made to fail.

use std::{collections::BTreeMap, time::Duration};

use dcd::event::Record;
use serde_json::Value;

/// What happens to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nobody takes connections.
    Refused,
    /// All connections are reset.
    Cut,
    /// Connections are taken, and nothing is said.
    Stalled,
    /// Every answer takes its time.
    Slow,
    /// Writes are done, and the answers are lost.
    AnswersLost,
    /// All processes of the server are killed, and it is started again.
    ServerKilled,
    /// The server is told to stop at once, without ending anything, and is started again.
    ServerStopped,
    /// The directory is not there.
    Gone,
    /// The directory's disk is full.
    Full,
}

impl Fault {
    /// As the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Refused => "connections refused",
            Fault::Cut => "connections reset",
            Fault::Stalled => "network silent",
            Fault::Slow => "network slow",
            Fault::AnswersLost => "answers lost after the write",
            Fault::ServerKilled => "server killed (SIGKILL), started again",
            Fault::ServerStopped => "server stopped at once (SIGQUIT), started again",
            Fault::Gone => "directory gone",
            Fault::Full => "disk of the backend full",
        }
    }
}

/// A build as the backend has it, read without dcd.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) component: String,
    pub(crate) number: u64,
    pub(crate) run_id: String,
    pub(crate) status: String,
    /// What was given when it ended.
    pub(crate) summary: Option<Value>,
    /// In the order of their numbers.
    pub(crate) records: Vec<Record>,
    /// Events that are there more than once.
    pub(crate) doubled: u64,
}

/// A backend, and what can be done to it.
pub(crate) trait Backend: Sync {
    /// The plugin.
    fn plugin(&self) -> &'static str;

    /// What the backend is made of, for the table.
    fn described(&self) -> String;

    /// The plugin's settings in the pipeline, and what it is allowed.
    fn settings(&self) -> (Value, Value);

    /// What can happen to it.
    fn faults(&self) -> Vec<Fault>;

    /// What cannot be tried here, and why.
    fn untried(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// Lets it happen for so long, and makes all good again. How often it hit somebody: connections, answers, or 1.
    fn suffer(&self, fault: Fault, time: Duration) -> u64;

    /// All builds.
    fn read(&self) -> Vec<Kept>;
}
