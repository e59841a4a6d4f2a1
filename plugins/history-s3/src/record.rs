//! A build's record: what it is, who may write it, and where its events are.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Build, BuildId, Lease, NewBuild, Status};
use serde::{Deserialize, Serialize};
use shared::line::Verbatim;

use crate::document::Document;
use crate::store::random;

/// One build, as its object has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) component: String,
    pub(crate) number: u64,
    pub(crate) run_id: String,
    pub(crate) status: StatusName,
    pub(crate) started_at: u64,
    pub(crate) finished_at: Option<u64>,
    pub(crate) next_seq: u64,
    pub(crate) metadata: Verbatim,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Verbatim>,
    pub(crate) lease: Held,
    /// Up to which event output was dropped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pruned_to: Option<u64>,
    /// A lost build that is in a segment. Who writes it again takes it out first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) settled: bool,
    /// The names of the steps, which `chunks` counts from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<String>,
    /// The objects that hold its events, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chunks: Vec<Chunk>,
    /// Counts the versions of this record.
    pub(crate) revision: u64,
    stamp: String,
}

/// Who may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) token: String,
    pub(crate) fence: u64,
    pub(crate) expires_at: u64,
}

/// An object with events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The first that it holds.
    pub(crate) first: u64,
    /// The one after the last that counts.
    pub(crate) next: u64,
    /// The end of its key: the writer's fence, and what makes it unique.
    pub(crate) name: String,
    /// How many bytes its lines are, before they are compressed.
    pub(crate) bytes: u64,
    /// Which steps it has events of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusName {
    Running,
    Success,
    Failure,
    Error,
    Timeout,
    Cancellation,
}

// What serde wants.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(truth: &bool) -> bool {
    !*truth
}

impl Document for Record {
    fn stamp(&self) -> &str {
        &self.stamp
    }

    fn set_stamp(&mut self, stamp: String) {
        self.stamp = stamp;
    }
}

impl Held {
    /// A lease from now on.
    pub(crate) fn new(fence: u64, now: u64, ttl_ms: u32) -> Result<Self, Error> {
        let mut held = Self { token: random()?, fence, expires_at: 0 };
        held.renew(now, ttl_ms);
        Ok(held)
    }

    pub(crate) fn renew(&mut self, now: u64, ttl_ms: u32) {
        self.expires_at = now.saturating_add(ttl_ms.into());
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { token: self.token.clone(), fence: self.fence, expires_at: self.expires_at }
    }
}

impl Record {
    /// A build that begins, and its first lease.
    pub(crate) fn new(build: &NewBuild, number: u64, now: u64) -> Result<Self, Error> {
        Ok(Self {
            component: build.component.clone(),
            number,
            run_id: build.run_id.clone(),
            status: StatusName::Running,
            started_at: build.started_at,
            finished_at: None,
            next_seq: 0,
            metadata: Verbatim::new(&build.metadata)?,
            summary: None,
            lease: Held::new(1, now, build.lease_ttl_ms)?,
            pruned_to: None,
            settled: false,
            steps: Vec::new(),
            chunks: Vec::new(),
            revision: 1,
            stamp: random()?,
        })
    }

    pub(crate) fn id(&self) -> BuildId {
        BuildId { component: self.component.clone(), number: self.number }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.status != StatusName::Running
    }

    /// Whether its runner was lost before `moment`.
    pub(crate) fn is_lost(&self, moment: u64) -> bool {
        !self.is_finished() && self.lease.expires_at < moment
    }

    /// A version's place in the order of all.
    pub(crate) fn revise(&mut self) {
        self.revision += 1;
    }

    /// The number by which `chunks` call a step.
    pub(crate) fn step(&mut self, name: &str) -> usize {
        self.steps.iter().position(|known| known == name).unwrap_or_else(|| {
            self.steps.push(name.to_owned());
            self.steps.len() - 1
        })
    }

    /// The record as the runner wants it.
    pub(crate) fn build(&self, now: u64) -> Build {
        self.entry().build(&self.component, now)
    }

    /// What lists need of it.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            number: self.number,
            run_id: self.run_id.clone(),
            status: self.status,
            started_at: self.started_at,
            finished_at: self.finished_at,
            next_seq: self.next_seq,
            lease_expires_at: self.lease.expires_at,
            pruned: self.pruned_to == Some(self.next_seq),
            metadata: self.metadata.clone(),
            summary: self.summary.clone(),
            revision: self.revision,
        }
    }
}

/// A build as a segment has it: a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) run_id: String,
    pub(crate) status: StatusName,
    pub(crate) started_at: u64,
    pub(crate) finished_at: Option<u64>,
    pub(crate) next_seq: u64,
    pub(crate) lease_expires_at: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) pruned: bool,
    pub(crate) metadata: Verbatim,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Verbatim>,
    pub(crate) revision: u64,
}

impl Entry {
    pub(crate) fn build(self, component: &str, now: u64) -> Build {
        Build {
            id: BuildId { component: component.to_owned(), number: self.number },
            run_id: self.run_id,
            status: self.status.into(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            lease_expires_at: self.lease_expires_at,
            as_of: now,
            next_seq: self.next_seq,
            metadata: self.metadata.into_text(),
            summary: self.summary.map(Verbatim::into_text),
            pruned: self.pruned,
        }
    }
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Success => Self::Success,
            Status::Failure => Self::Failure,
            Status::Error => Self::Error,
            Status::Timeout => Self::Timeout,
            Status::Cancellation => Self::Cancellation,
        }
    }
}

impl From<StatusName> for Status {
    fn from(status: StatusName) -> Self {
        match status {
            StatusName::Running => Self::Running,
            StatusName::Success => Self::Success,
            StatusName::Failure => Self::Failure,
            StatusName::Error => Self::Error,
            StatusName::Timeout => Self::Timeout,
            StatusName::Cancellation => Self::Cancellation,
        }
    }
}
