//! Locks as a table and as JSON.

use serde_json::{Value, json};

use crate::{
    engine::ports::backend::Lock,
    event::UnixMs,
    report::Style,
    text::{self, harmless_line},
};

/// A lock that somebody holds, wherever it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLock {
    /// Its name.
    pub name: String,
    /// The history backend that keeps it; `None`: this machine.
    pub by: Option<String>,
    /// In the order in which they asked. Who is first holds the lock.
    pub queue: Vec<KnownPlace>,
}

/// A place in the queue for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlace {
    /// Whose it is, for people.
    pub who: String,
    /// The build's id.
    pub build: String,
    /// When it came, or since when it holds the lock, where that is known.
    pub since: UnixMs,
    /// When it drops out unless it is renewed, and in how many milliseconds that is.
    pub expires: Option<(UnixMs, u64)>,
    /// The process that holds it, and its container.
    pub process: Option<(u32, Option<String>)>,
}

impl KnownLock {
    /// A lock of the history backend of this name.
    pub fn kept(by: &str, lock: Lock) -> Self {
        let as_of = lock.as_of;
        let queue = lock.queue.into_iter().map(|place| KnownPlace {
            who: place.owner,
            build: place.ticket,
            since: place.held_since.unwrap_or(place.since),
            expires: Some((place.expires_at, place.expires_at.saturating_sub(as_of))),
            process: None,
        });
        KnownLock { name: lock.name, by: Some(by.to_owned()), queue: queue.collect() }
    }
}

/// A table: a line for each place in each queue.
pub fn lock_list(locks: &[KnownLock], style: Style) -> String {
    let header = ["LOCK", "KEPT BY", "STATE", "BUILD", "SINCE", "EXPIRES", "ID"].map(str::to_owned);
    let rows: Vec<_> = locks
        .iter()
        .flat_map(|lock| lock.queue.iter().enumerate().map(|(ahead, place)| row(lock, ahead, place)))
        .collect();
    let width = |column: usize| {
        rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut page = format!("{}\n", style.bold(&line(&header)));
    for row in &rows {
        page.push_str(&line(row));
        page.push('\n');
    }
    page
}

fn row(lock: &KnownLock, ahead: usize, place: &KnownPlace) -> [String; 7] {
    [
        harmless_line(&lock.name),
        harmless_line(lock.by.as_deref().unwrap_or("this machine")),
        if ahead == 0 { "held".to_owned() } else { format!("waits {ahead}") },
        harmless_line(&place.who),
        text::rfc3339(place.since),
        place.expires.map_or_else(|| "-".to_owned(), |(_, left)| format!("in {}", text::millis(left))),
        harmless_line(&place.build),
    ]
}

/// As `dcd lock list --json` prints it.
pub fn lock_document(locks: &[KnownLock]) -> Value {
    let place = |place: &KnownPlace| {
        let (process, container) = place.process.clone().unzip();
        json!({
            "build": place.build,
            "who": place.who,
            "since": text::rfc3339(place.since),
            "expires_at": place.expires.map(|(at, _)| text::rfc3339(at)),
            "process": process,
            "container": container.flatten(),
        })
    };
    let lock = |lock: &KnownLock| json!({ "name": lock.name, "kept_by": lock.by, "queue": lock.queue.iter().map(place).collect::<Value>() });
    locks.iter().map(lock).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::backend::LockPlace;

    fn locks() -> Vec<KnownLock> {
        let place = |ticket: &str, since, held_since| LockPlace {
            ticket: ticket.into(),
            owner: format!("shop {ticket}\u{1b}[1m of ada on t0"),
            since,
            held_since,
            expires_at: 1_800_000_045_000,
        };
        let queue = vec![
            place("#1", 1_800_000_000_000, Some(1_800_000_000_500)),
            place("#2", 1_800_000_002_000, None),
        ];
        let there = Lock { name: "deploy".into(), queue, as_of: 1_800_000_003_000 };
        let here = KnownPlace {
            who: "shop #3".into(),
            build: "01a2".into(),
            since: 1_800_000_000_000,
            expires: None,
            process: Some((7, Some("0123abcd".into()))),
        };
        vec![KnownLock::kept("store", there), KnownLock { name: "db".into(), by: None, queue: vec![here] }]
    }

    #[test]
    fn a_line_for_each_who_holds_or_waits() {
        insta::assert_snapshot!(lock_list(&locks(), Style::PLAIN), @r#"
        LOCK    KEPT BY       STATE    BUILD                        SINCE                     EXPIRES   ID
        deploy  store         held     shop #1\x1b[1m of ada on t0  2027-01-15T08:00:00.500Z  in 42.0s  #1
        deploy  store         waits 1  shop #2\x1b[1m of ada on t0  2027-01-15T08:00:02.000Z  in 42.0s  #2
        db      this machine  held     shop #3                      2027-01-15T08:00:00.000Z  -         01a2
        "#);
    }

    #[test]
    fn the_document_says_where_each_is_kept() {
        let document = lock_document(&locks());
        assert_eq!(document[0]["kept_by"], "store");
        assert_eq!(document[0]["queue"][1]["expires_at"], "2027-01-15T08:00:45.000Z");
        assert_eq!(document[0]["queue"][0]["process"], Value::Null);
        assert_eq!(document[1]["kept_by"], Value::Null);
        assert_eq!(
            document[1]["queue"][0],
            json!({ "build": "01a2", "who": "shop #3", "since": "2027-01-15T08:00:00.000Z", "expires_at": null,
                    "process": 7, "container": "0123abcd" })
        );
    }
}
