//! A build's record: `build.json`, and `numbers/<n>` until that is written.

use std::path::Path;

use dcd_plugin_sdk::history::{Build, BuildId, NewBuild, Status};
use dcd_plugin_sdk::{Error, Help as _, serde_json};
use serde::{Deserialize, Serialize};
use shared::line::Verbatim;

use crate::events::Events;
use crate::layout::BuildDir;
use crate::{files, lease};

/// What is known of a build but for its number, which its path says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) component: String,
    pub(crate) run_id: String,
    status: StatusName,
    started_at: u64,
    finished_at: Option<u64>,
    metadata: Verbatim,
    summary: Option<Verbatim>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    Running,
    Success,
    Failure,
    Error,
    Timeout,
    Cancellation,
}

impl Record {
    pub(crate) fn new(build: &NewBuild) -> Result<Self, Error> {
        Ok(Self {
            component: build.component.clone(),
            run_id: build.run_id.clone(),
            status: StatusName::Running,
            started_at: build.started_at,
            finished_at: None,
            metadata: Verbatim::new(&build.metadata)?,
            summary: None,
        })
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.status != StatusName::Running
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// A build's record; none when its number was not given, or its directory was removed.
pub(crate) fn read(dir: &BuildDir) -> Result<Option<Record>, Error> {
    if let Some(record) = read_file(&dir.record())? {
        return Ok(Some(record));
    }
    // The run's entry is made just before the directory.
    let is_there = |claim: &Record| dir.path().is_dir() || !dir.component.run(&claim.run_id).exists();
    Ok(read_claim(dir)?.filter(is_there))
}

/// The record that gave a number; none when it was not given.
pub(crate) fn read_claim(dir: &BuildDir) -> Result<Option<Record>, Error> {
    read_file(&dir.claim())
}

fn read_file(path: &Path) -> Result<Option<Record>, Error> {
    match files::read(path)? {
        Some(text) => serde_json::from_str(&text).map(Some).context(format!("{} is damaged", path.display())),
        None => Ok(None),
    }
}

/// The build's record as the runner wants it, at a time of the [place's clock](crate::clock).
pub(crate) fn build(dir: &BuildDir, now: u64) -> Result<Option<Build>, Error> {
    let Some(record) = read(dir)? else { return Ok(None) };
    let next_seq = Events::open(dir)?.tail();
    let pruned_to = files::read(&dir.pruned())?.and_then(|text| text.trim().parse().ok());
    Ok(Some(Build {
        id: BuildId { component: dir.component.name.clone(), number: dir.number },
        lease_expires_at: lease::read(dir)?.map_or(record.started_at, |lease| lease.expires_at),
        as_of: now,
        next_seq,
        run_id: record.run_id,
        status: record.status.into(),
        started_at: record.started_at,
        finished_at: record.finished_at,
        metadata: record.metadata.into_text(),
        summary: record.summary.map(Verbatim::into_text),
        pruned: pruned_to == Some(next_seq),
    }))
}

/// Ends a build. That it ended already, in the same way, is fine.
pub(crate) fn finish(dir: &BuildDir, status: Status, at: u64, summary: &str) -> Result<(), Error> {
    let Some(mut record) = read(dir)? else {
        return Err(Error::not_found(format!("there is no build {}", dir.number)));
    };
    let status = StatusName::from(status);
    if record.is_finished() {
        if record.status == status {
            return Ok(());
        }
        return Err(Error::other(format!("build {} is finished, as {:?}", dir.number, record.status)));
    }
    record.status = status;
    record.finished_at = Some(at);
    record.summary = Some(Verbatim::new(summary)?);
    files::replace(&dir.record(), &record.to_json()?)
}

/// Says that what the steps printed was dropped, up to this event.
pub(crate) fn mark_pruned(dir: &BuildDir, tail: u64) -> Result<(), Error> {
    files::replace(&dir.pruned(), format!("{tail}\n").as_bytes())
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
