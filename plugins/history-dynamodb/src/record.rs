//! A build's record, one item: who may write it and up to where it is stored is all in it, so that one conditional
//! update decides.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Build, BuildId, Lease, NewBuild, Status};
use serde_json::Value;

use crate::item::{self, Item};
use crate::keys;
use crate::pack;
use crate::table::Table;

/// Longer text is kept deflated.
const PLAIN_TEXT: usize = 512;

/// The status of a build that runs, as it is kept.
pub(crate) const RUNNING: &str = "running";

/// A build's record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) build: Build,
    pub(crate) lease: String,
    pub(crate) fence: u64,
    /// Up to where output was dropped; none when it never was.
    pub(crate) pruned: Option<u64>,
}

impl Record {
    pub(crate) fn read(item: &Item, now: u64) -> Result<Self, Error> {
        let pk = item::get_text(item, "pk")?;
        let number = item::get_text(item, "sk")?.parse().map_err(|_| item::damaged(item, "sk"))?;
        let component = pk.strip_prefix(&keys::builds("")).ok_or_else(|| item::damaged(item, "pk"))?;
        let pruned = item::find_number(item, "pruned");
        let next_seq = item::get_number(item, "next")?;
        Ok(Self {
            build: Build {
                id: BuildId { component: component.to_owned(), number },
                run_id: item::get_text(item, "run")?.to_owned(),
                status: parse_status(item::get_text(item, "status")?)
                    .ok_or_else(|| item::damaged(item, "status"))?,
                started_at: item::get_number(item, "started")?,
                finished_at: item::find_number(item, "finished"),
                lease_expires_at: item::get_number(item, "expires")?,
                as_of: now,
                next_seq,
                metadata: read_text(item, "metadata")?.ok_or_else(|| item::damaged(item, "metadata"))?,
                summary: read_text(item, "summary")?,
                pruned: pruned == Some(next_seq),
            },
            lease: item::get_text(item, "lease")?.to_owned(),
            fence: item::get_number(item, "fence")?,
            pruned,
        })
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.build.status != Status::Running
    }

    /// Whether its runner does not write any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_finished() || self.build.lease_expires_at < self.build.as_of
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { token: self.lease.clone(), fence: self.fence, expires_at: self.build.lease_expires_at }
    }
}

/// The record of a build that begins.
pub(crate) fn new(number: u64, new: &NewBuild, lease: &Lease) -> Result<Item, Error> {
    let id = BuildId { component: new.component.clone(), number };
    Ok(keys::build(&id).with([
        ("run", item::text(&new.run_id)),
        ("status", item::text(RUNNING)),
        ("started", item::number(new.started_at)),
        ("lease", item::text(&lease.token)),
        ("fence", item::number(lease.fence)),
        ("expires", item::number(lease.expires_at)),
        ("next", item::number(0)),
        ("metadata", write_text(&new.metadata)?),
    ]))
}

/// A build's record; none when there is no such build.
pub(crate) fn find(table: &Table, id: &BuildId) -> Result<Option<Record>, Error> {
    match table.get(&keys::build(id))? {
        Some(item) => Record::read(&item, table.now()).map(Some),
        None => Ok(None),
    }
}

/// The record of a build that must be there.
pub(crate) fn get(table: &Table, id: &BuildId) -> Result<Record, Error> {
    find(table, id)?
        .ok_or_else(|| Error::not_found(format!("there is no build {} of {}", id.number, id.component)))
}

/// Text that comes back to the byte.
pub(crate) fn write_text(text: &str) -> Result<Value, Error> {
    if text.len() <= PLAIN_TEXT {
        return Ok(item::text(text));
    }
    let packed = pack::pack_text(text)?;
    Ok(if packed.len() < text.len() { item::bytes(&packed) } else { item::text(text) })
}

fn read_text(item: &Item, name: &str) -> Result<Option<String>, Error> {
    if let Some(text) = item::find_text(item, name) {
        return Ok(Some(text.to_owned()));
    }
    item::find_bytes(item, name).map(|packed| pack::unpack_text(&packed)).transpose()
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Running => RUNNING,
        Status::Success => "success",
        Status::Failure => "failure",
        Status::Error => "error",
        Status::Timeout => "timeout",
        Status::Cancellation => "cancellation",
    }
}

fn parse_status(text: &str) -> Option<Status> {
    [Status::Running, Status::Success, Status::Failure, Status::Error, Status::Timeout, Status::Cancellation]
        .into_iter()
        .find(|known| status(*known) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_given() {
        let long = format!("{{ \"z\": 1.0,\t\"text\": \"{}\" }}", "grüezi ".repeat(500));
        for metadata in ["{ \"a\": [1.0, -0, 1e3] }".to_owned(), long] {
            let begun = NewBuild {
                component: "shop/web".into(),
                run_id: "run".into(),
                started_at: 3,
                lease_ttl_ms: 1000,
                metadata: metadata.clone(),
            };
            let lease = Lease { token: "token".into(), fence: 1, expires_at: 9 };
            let mut item = new(7, &begun, &lease).unwrap();
            assert!(item::size(&item) < 1024);
            let record = Record::read(&item, 10).unwrap();
            assert_eq!(record.build.id, BuildId { component: "shop/web".into(), number: 7 });
            assert_eq!(record.build.metadata, metadata);
            assert_eq!((record.build.as_of, record.build.lease_expires_at), (10, 9));
            assert!(record.is_over() && !record.is_finished() && !record.build.pruned);
            assert!(!Record::read(&item, 9).unwrap().is_over());
            item.insert("status".into(), item::text("timeout"));
            item.insert("summary".into(), write_text(&metadata).unwrap());
            let record = Record::read(&item, 9).unwrap();
            assert_eq!((record.build.status, record.build.summary), (Status::Timeout, Some(metadata)));
            item.insert("status".into(), item::text("well"));
            assert!(Record::read(&item, 9).is_err());
        }
    }
}
