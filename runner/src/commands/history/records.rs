//! A build's records, one after the other, from wherever the build is.

use std::collections::VecDeque;

use crate::{
    commands::builds::{Builds, backend_error, unreadable},
    error::CommandError,
    event::Record,
    journal::{BuildDir, Reader},
    report::Summary,
};

/// Why there is no further record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// That was all.
    Whole,
    /// What follows cannot be read.
    Damaged(String),
}

/// Where they come from.
pub(super) enum Records {
    Journal { reader: Reader, place: BuildDir },
    Backend { build: Summary, ready: VecDeque<Record>, next: Option<u64> },
}

impl Records {
    /// From the workspace, or where it is not there from the backend.
    pub(super) fn open(builds: &Builds, build: &Summary) -> Result<Self, CommandError> {
        let place = builds.store().place(&build.id);
        if place.journal().exists() { Records::journal(place) } else { Ok(Records::backend(build)) }
    }

    pub(super) fn journal(place: BuildDir) -> Result<Self, CommandError> {
        let reader = Reader::open(&place.journal()).map_err(|error| unreadable(&place, &error))?;
        Ok(Records::Journal { reader, place })
    }

    pub(super) fn backend(build: &Summary) -> Self {
        Records::Backend { build: build.clone(), ready: VecDeque::new(), next: Some(0) }
    }

    /// The next one, or why there is none.
    pub(super) fn next(&mut self, builds: &mut Builds) -> Result<Result<Record, End>, CommandError> {
        match self {
            Records::Journal { reader, place } => {
                let record = reader.next_record().map_err(|error| unreadable(place, &error))?;
                let end = || reader.torn().map_or(End::Whole, |damage| End::Damaged(damage.to_string()));
                Ok(record.ok_or_else(end))
            }
            Records::Backend { build, ready, next } => {
                while ready.is_empty() {
                    let Some(from) = *next else { break };
                    let page = builds.page(build, None, from).map_err(|error| backend_error(&error))?;
                    *next = page.next.filter(|next| *next > from);
                    ready.extend(page.records);
                }
                Ok(ready.pop_front().ok_or(End::Whole))
            }
        }
    }
}
