//! The contract of a history backend, in a directory.

use std::collections::BTreeSet;
use std::fs;

use dcd_plugin_sdk::history::Payload;
use tempfile::TempDir;

use super::*;

type Tested = Result<(), Error>;

fn open(dir: &TempDir) -> Result<HistoryDir, Error> {
    HistoryDir::open(Config { path: dir.path().display().to_string() })
}

fn new_build(component: &str, run_id: &str, started_at: u64) -> NewBuild {
    NewBuild {
        component: component.into(),
        run_id: run_id.into(),
        started_at,
        lease_ttl_ms: 60_000,
        metadata: "{\"sha\":  \"abc\"}".into(),
    }
}

fn event(seq: u64) -> Event {
    let step = if seq.is_multiple_of(2) { "even" } else { "odd" };
    Event {
        seq,
        at: seq,
        kind: "step.output".into(),
        step: Some(step.into()),
        payload: Payload::Bytes(vec![0xff, u8::try_from(seq % 256).unwrap_or_default()]),
    }
}

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

fn any() -> BuildFilter {
    BuildFilter { component: None, statuses: vec![], started_after: None, started_before: None }
}

#[test]
fn a_path_must_be_absolute_and_there() -> Tested {
    let error = HistoryDir::open(Config { path: "builds".into() }).err();
    assert!(matches!(error, Some(Error::InvalidConfig(diagnostics)) if diagnostics[0].pointer == "/path"));
    let Err(Error::NotFound(fault)) = HistoryDir::open(Config { path: "/no/such".into() }) else {
        unreachable!()
    };
    let help = "\"allow\": {\"fs\": [{\"path\": \"/no/such\", \"access\": \"rw\"}]}";
    assert!(fault.help.is_some_and(|text| text.contains(help)));
    let dir = TempDir::new()?;
    open(&dir)?.check()?;
    assert_eq!(fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

#[test]
fn a_run_keeps_its_number_and_each_begin_takes_the_lease() -> Tested {
    let dir = TempDir::new()?;
    let first = open(&dir)?.begin_build(new_build("team/shop", "a", 1))?;
    let other = open(&dir)?.begin_build(new_build("team/shop", "b", 2))?;
    let again = open(&dir)?.begin_build(new_build("team/shop", "a", 1))?;
    assert_eq!((first.build.number, other.build.number, again.build.number), (1, 2, 1));
    assert_eq!((first.lease.fence, again.lease.fence), (1, 2));
    assert_ne!(first.lease.token, again.lease.token);

    let store = open(&dir)?;
    let build = || first.build.clone();
    assert_eq!(store.append(build(), &first.lease.token, 0, events(0..1))?, WriteOutcome::Fenced);
    assert_eq!(store.finish_build(build(), &first.lease.token, 0, Status::Success, 9)?, WriteOutcome::Fenced);
    assert_eq!(store.renew_lease(build(), &first.lease.token, 1)?, None);
    let renewed = store.renew_lease(build(), &again.lease.token, 120_000)?;
    assert!(renewed.is_some_and(|lease| lease.fence == 2 && lease.expires_at > again.lease.expires_at));
    Ok(())
}

#[test]
fn a_begin_that_broke_off_anywhere_is_taken_up() -> Tested {
    for lost in ["runs/a", "runs", "1", "1/build.json", "1/lease.json", "1/events"] {
        let dir = TempDir::new()?;
        open(&dir)?.begin_build(new_build("c", "a", 1))?;
        let lost = dir.path().join("c").join(lost);
        // A lost index entry alone cannot be: it is written before the directory is made.
        if lost.ends_with("runs/a") {
            fs::remove_dir_all(dir.path().join("c/1"))?;
        }
        if lost.is_dir() {
            fs::remove_dir_all(&lost)?;
        } else {
            fs::remove_file(&lost)?;
        }
        assert!(open(&dir)?.list_builds(any(), Page { limit: 9, cursor: None })?.items.len() == 1);
        assert_eq!(open(&dir)?.begin_build(new_build("c", "b", 1))?.build.number, 2, "{}", lost.display());
        assert_eq!(open(&dir)?.begin_build(new_build("c", "a", 1))?.build.number, 1, "{}", lost.display());
    }
    Ok(())
}

#[test]
fn appends_are_contiguous_and_repeatable() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let append = |first: u64, list: Vec<Event>| {
        open(&dir)?.append(grant.build.clone(), &grant.lease.token, first, list)
    };
    assert_eq!(append(0, events(0..5))?, WriteOutcome::Stored(5));
    assert_eq!(append(0, events(0..5))?, WriteOutcome::Stored(5));
    assert_eq!(append(3, events(3..8))?, WriteOutcome::Stored(8));
    assert_eq!(append(9, events(9..10))?, WriteOutcome::Gap(8));
    assert_eq!(append(8, vec![])?, WriteOutcome::Stored(8));
    assert!(append(8, events(9..10)).is_err());

    let build = || grant.build.clone();
    let finish = |seq| store.finish_build(build(), &grant.lease.token, seq, Status::Failure, 77);
    assert_eq!(finish(7)?, WriteOutcome::Gap(8));
    assert_eq!(finish(8)?, WriteOutcome::Stored(8));
    assert_eq!(finish(8)?, WriteOutcome::Stored(8));
    assert_eq!(append(3, events(3..8))?, WriteOutcome::Stored(8));
    assert!(append(8, events(8..9)).is_err());

    let stored = store.get_build(build())?;
    let facts = stored.map(|b| (b.status, b.finished_at, b.next_seq, b.run_id, b.metadata));
    assert_eq!(facts, Some((Status::Failure, Some(77), 8, "a".into(), "{\"sha\":  \"abc\"}".into())));
    assert_eq!(store.get_build(BuildId { component: "c".into(), number: 2 })?, None);
    assert!(matches!(
        store.read_events(BuildId { component: "x".into(), number: 1 }, None, 0, 1),
        Err(Error::NotFound(_))
    ));
    Ok(())
}

#[test]
fn events_are_read_in_pages() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let (build, token) = (|| grant.build.clone(), grant.lease.token.as_str());
    store.append(build(), token, 0, events(0..4))?;
    store.append(build(), token, 4, events(4..6))?;
    let page = store.read_events(build(), None, 1, 4)?;
    assert_eq!((page.items, page.next_seq), (events(1..5), Some(5)));
    // The build goes on: there will be more.
    let page = store.read_events(build(), None, 5, 4)?;
    assert_eq!((page.items, page.next_seq), (events(5..6), Some(6)));
    store.append(build(), token, 6, events(6..7))?;
    store.finish_build(build(), token, 7, Status::Success, 9)?;
    let page = store.read_events(build(), None, 6, 4)?;
    assert_eq!((page.items, page.next_seq), (events(6..7), None));
    let page = store.read_events(build(), Some("odd"), 0, 2)?;
    assert_eq!((page.items, page.next_seq), (vec![event(1), event(3)], Some(4)));
    let page = store.read_events(build(), Some("odd"), 4, 2)?;
    assert_eq!((page.items, page.next_seq), (vec![event(5)], None));
    Ok(())
}

#[test]
fn large_events_make_short_pages() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let large = |seq| Event { payload: Payload::Bytes(vec![b'x'; 1 << 20]), ..event(seq) };
    store.append(grant.build.clone(), &grant.lease.token, 0, (0..10).map(large).collect())?;
    let page = store.read_events(grant.build, None, 0, 1000)?;
    assert_eq!((page.items.len(), page.next_seq), (4, Some(4)));
    Ok(())
}

#[test]
fn a_torn_file_is_never_an_event() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    store.append(grant.build.clone(), &grant.lease.token, 0, events(0..2))?;
    let events_dir = dir.path().join("c/1/events");
    fs::write(events_dir.join(".tmp-1"), "{\"se")?;
    fs::write(events_dir.join("notes.txt"), "mine")?;
    let outcome = open(&dir)?.append(grant.build, &grant.lease.token, 2, events(2..3))?;
    assert_eq!(outcome, WriteOutcome::Stored(3));
    Ok(())
}

#[test]
fn racing_writers_get_numbers_without_gaps() -> Tested {
    let dir = TempDir::new()?;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let path = dir.path().display().to_string();
            std::thread::spawn(move || -> Result<Vec<u64>, Error> {
                let store = HistoryDir::open(Config { path })?;
                (0..32)
                    .map(|i| Ok(store.begin_build(new_build("c", &format!("{writer}-{i}"), 1))?.build.number))
                    .collect()
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for writer in writers {
        numbers.extend(writer.join().map_err(|_| Error::other("a writer panicked"))??);
    }
    assert_eq!(numbers.len(), 256);
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (1..=256).collect());
    Ok(())
}

#[test]
fn builds_are_listed_newest_first_while_others_begin() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    for (component, run, started_at) in
        [("a", "1", 10), ("b", "2", 20), ("a", "3", 30), ("b", "4", 40), ("a", "5", 50)]
    {
        store.begin_build(new_build(component, run, started_at))?;
    }
    let runs = |page: &BuildPage| page.items.iter().map(|build| build.run_id.clone()).collect::<Vec<_>>();
    let first = store.list_builds(any(), Page { limit: 2, cursor: None })?;
    assert_eq!(runs(&first), ["5", "4"]);
    store.begin_build(new_build("a", "6", 60))?;
    store.begin_build(new_build("new", "7", 70))?;
    let second = store.list_builds(any(), Page { limit: 2, cursor: first.next })?;
    assert_eq!(runs(&second), ["3", "2"]);
    let third = store.list_builds(any(), Page { limit: 2, cursor: second.next })?;
    assert_eq!((runs(&third), third.next), (vec!["1".to_owned()], None));

    let filter = BuildFilter {
        component: Some("a".into()),
        started_after: Some(10),
        started_before: Some(60),
        ..any()
    };
    assert_eq!(runs(&store.list_builds(filter, Page { limit: 9, cursor: None })?), ["5", "3"]);
    let filter = BuildFilter { statuses: vec![Status::Success], ..any() };
    assert_eq!(store.list_builds(filter, Page { limit: 9, cursor: None })?.items, []);
    assert!(store.list_builds(any(), Page { limit: 9, cursor: Some("x".into()) }).is_err());
    Ok(())
}
