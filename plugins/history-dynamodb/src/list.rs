//! Builds, newest first.
//!
//! Of one component: by its numbers, from its partition. Of all, or of a time: by their starts, from the list of starts,
//! whose places lead to the records. A page costs as many records as it shows, however many components there are.
//!
//! A cursor is the key that was looked at last, so builds that begin while somebody turns pages are on none of them, and
//! none is shown twice.

use std::collections::BTreeMap;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Build, BuildFilter, BuildId, BuildPage, Page};

use crate::item::{self, Item};
use crate::keys;
use crate::record::Record;
use crate::request::Request;
use crate::table::Table;

const LONGEST_PAGE: u32 = 1000;
/// How many records, or places, one call looks at before the runner is to ask again.
const MANY_RECORDS: usize = 1000;
const MANY_PLACES: usize = 20_000;
/// How many one query asks for, at most.
const RECORDS: usize = 250;
const PLACES: usize = 1000;

pub(crate) fn list(table: &Table, filter: &BuildFilter, page: &Page) -> Result<BuildPage, Error> {
    let limit = page.limit.clamp(1, LONGEST_PAGE) as usize;
    let cursor = page.cursor.as_deref().map(Cursor::parse).transpose()?;
    match (&filter.component, cursor) {
        (Some(component), None) if !has_times(filter) => by_number(table, component, filter, limit, None),
        (Some(component), Some(Cursor::Number(before))) => {
            by_number(table, component, filter, limit, Some(before))
        }
        (_, None) => by_start(table, filter, limit, None),
        (_, Some(Cursor::Start(before))) => by_start(table, filter, limit, Some(before)),
        (None, Some(Cursor::Number(_))) => Err(wrong_cursor()),
    }
}

fn has_times(filter: &BuildFilter) -> bool {
    filter.started_after.is_some() || filter.started_before.is_some()
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cursor {
    /// Before this number.
    Number(u64),
    /// Before this place in the list of starts.
    Start(String),
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, Error> {
        let parsed = match text.split_at_checked(1) {
            Some(("n", number)) => number.parse().ok().map(Self::Number),
            Some(("s", place)) => keys::parse_start(place).map(|_| Self::Start(place.to_owned())),
            _ => None,
        };
        parsed.ok_or_else(wrong_cursor)
    }

    fn write(&self) -> String {
        match self {
            Self::Number(number) => format!("n{number}"),
            Self::Start(place) => format!("s{place}"),
        }
    }
}

fn wrong_cursor() -> Error {
    Error::other("the cursor is not one that this backend gave for such a list")
}

fn by_number(
    table: &Table,
    component: &str,
    filter: &BuildFilter,
    limit: usize,
    before: Option<u64>,
) -> Result<BuildPage, Error> {
    let (mut items, mut looked_at) = (Vec::new(), 0);
    let mut before = before.unwrap_or(u64::MAX);
    loop {
        if before <= 1 {
            return Ok(BuildPage { items, next: None });
        }
        let to = keys::build(&BuildId { component: component.to_owned(), number: before - 1 });
        // One more, so that the last page is known to be one.
        let wanted = (limit - items.len() + 1).min(RECORDS);
        let found = table.query(Request::query(&to.pk, "0", &to.sk).backwards().limit(wanted))?;
        for item in &found.items {
            let build = Record::read(item, table.now())?.build;
            let fits = filter.fits(&build);
            if fits && items.len() == limit {
                return Ok(BuildPage { items, next: Some(Cursor::Number(before).write()) });
            }
            before = build.id.number;
            if fits {
                items.push(build);
            }
        }
        looked_at += found.items.len();
        if !found.more {
            return Ok(BuildPage { items, next: None });
        }
        if looked_at >= MANY_RECORDS {
            return Ok(BuildPage { items, next: Some(Cursor::Number(before).write()) });
        }
    }
}

fn by_start(
    table: &Table,
    filter: &BuildFilter,
    limit: usize,
    mut before: Option<String>,
) -> Result<BuildPage, Error> {
    let (mut items, mut looked_at) = (Vec::new(), 0);
    // Both bounds are exclusive.
    let from = keys::started(filter.started_after.map_or(0, |after| after.saturating_add(1)));
    let last = keys::started_until(filter.started_before.map_or(u64::MAX, |before| before.saturating_sub(1)));
    loop {
        let to = before.as_deref().map_or(last.as_str(), |before| before.min(last.as_str())).to_owned();
        if filter.started_before == Some(0) || from > to {
            return Ok(BuildPage { items, next: None });
        }
        // Of another component, a place costs little to pass over.
        let wanted = if filter.component.is_some() { PLACES } else { (limit - items.len() + 2).min(PLACES) };
        let found = table.query(Request::query(keys::STARTS, &from, &to).backwards().limit(wanted))?;
        let mut places = Vec::new();
        for item in &found.items {
            places.push(Place::read(item)?);
        }
        // The condition has only `<=`, and the cursor is the place that was looked at last.
        places.retain(|place| before.as_ref().is_none_or(|before| place.sk < *before));
        let page_end = places.last().map(|place| place.sk.clone());
        places.retain(|place| filter.component.as_ref().is_none_or(|own| *own == place.build.component));
        looked_at += found.items.len();
        for some in places.chunks(limit.max(25)) {
            let records = records(table, some)?;
            for place in some {
                let build = records.get(&(place.build.component.as_str(), place.build.number));
                let build = build.filter(|build| place.leads_to(build) && filter.fits(build));
                if build.is_some() && items.len() == limit {
                    let next = before.map(|before| Cursor::Start(before).write());
                    return Ok(BuildPage { items, next });
                }
                before = Some(place.sk.clone());
                items.extend(build.cloned());
            }
        }
        before = page_end.or(before);
        if !found.more {
            return Ok(BuildPage { items, next: None });
        }
        if looked_at >= MANY_PLACES {
            return Ok(BuildPage { items, next: before.map(|before| Cursor::Start(before).write()) });
        }
    }
}

/// A place in the list of starts.
#[derive(Debug)]
struct Place {
    sk: String,
    started_at: u64,
    run_id: String,
    build: BuildId,
}

impl Place {
    fn read(item: &Item) -> Result<Self, Error> {
        let sk = item::get_text(item, "sk")?;
        let (started_at, component, run_id) =
            keys::parse_start(sk).ok_or_else(|| item::damaged(item, "sk"))?;
        Ok(Self {
            started_at,
            run_id: run_id.to_owned(),
            build: BuildId { component: component.to_owned(), number: item::get_number(item, "number")? },
            sk: sk.to_owned(),
        })
    }

    /// Whether the build is this place's, and not that of a writer that was quicker.
    fn leads_to(&self, build: &Build) -> bool {
        build.run_id == self.run_id && build.started_at == self.started_at
    }
}

fn records<'a>(table: &Table, places: &'a [Place]) -> Result<BTreeMap<(&'a str, u64), Build>, Error> {
    let mut builds: Vec<&BuildId> = places.iter().map(|place| &place.build).collect();
    // A key may be asked for once.
    builds.sort_by_key(|build| (&build.component, build.number));
    builds.dedup();
    let keys: Vec<_> = builds.iter().map(|build| keys::build(build)).collect();
    let items = if keys.is_empty() { Vec::new() } else { table.get_all(&keys)? };
    let mut found = BTreeMap::new();
    for item in &items {
        let build = Record::read(item, table.now())?.build;
        if let Some(id) = builds.iter().find(|id| ***id == build.id) {
            found.insert((id.component.as_str(), id.number), build);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_only_what_was_given() {
        for cursor in [Cursor::Number(7), Cursor::Start("00000000000000000009#shop#run#1".into())] {
            assert_eq!(Cursor::parse(&cursor.write()), Ok(cursor));
        }
        for wrong in ["", "n", "nx", "s", "s9#shop", "x7", "ü7"] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_leads_to_its_own_build_only() {
        let item = keys::start(5, "shop/web", "run#1").with([("number", item::number(7))]);
        let place = Place::read(&item).unwrap();
        let build = |run: &str, started: u64| {
            let new = dcd_plugin_sdk::history::NewBuild {
                component: "shop/web".into(),
                run_id: run.into(),
                started_at: started,
                lease_ttl_ms: 0,
                metadata: "{}".into(),
            };
            let lease = dcd_plugin_sdk::history::Lease { token: "t".into(), fence: 1, expires_at: 0 };
            Record::read(&crate::record::new(7, &new, &lease).unwrap(), 0).unwrap().build
        };
        assert_eq!(place.build, build("run#1", 5).id);
        assert!(place.leads_to(&build("run#1", 5)));
        assert!(!place.leads_to(&build("run#1", 6)));
        assert!(!place.leads_to(&build("run#2", 5)));
    }
}
