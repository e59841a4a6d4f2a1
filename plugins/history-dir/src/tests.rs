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
        hash: vec![u8::try_from(seq % 256).unwrap_or_default(); 32],
    }
}

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

fn any() -> BuildFilter {
    BuildFilter {
        component: None,
        statuses: vec![],
        started_after: None,
        started_before: None,
        metadata: vec![],
    }
}

fn finish(store: &HistoryDir, grant: &Grant, seq: u64, status: Status) -> Result<WriteOutcome, Error> {
    store.finish_build(grant.build.clone(), &grant.lease.token, seq, status, 77, "{ }".into())
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
    assert_eq!(finish(&store, &first, 0, Status::Success)?, WriteOutcome::Fenced);
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
        // Without a directory it is as one that somebody removed, until it is begun again.
        let listed = usize::from(!lost.ends_with("1"));
        assert_eq!(open(&dir)?.list_builds(any(), Page { limit: 9, cursor: None })?.items.len(), listed);
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
    let end = |seq| finish(&store, &grant, seq, Status::Failure);
    assert_eq!(end(7)?, WriteOutcome::Gap(8));
    assert_eq!(end(8)?, WriteOutcome::Stored(8));
    assert_eq!(end(8)?, WriteOutcome::Stored(8));
    assert_eq!(append(3, events(3..8))?, WriteOutcome::Stored(8));
    assert!(append(8, events(8..9)).is_err());

    let stored = store.get_build(build())?;
    let facts = stored.map(|b| (b.status, b.finished_at, b.next_seq, b.run_id, b.metadata, b.summary));
    let (metadata, summary) = ("{\"sha\":  \"abc\"}".into(), Some("{ }".into()));
    assert_eq!(facts, Some((Status::Failure, Some(77), 8, "a".into(), metadata, summary)));
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
    finish(&store, &grant, 7, Status::Success)?;
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

#[test]
fn output_is_dropped_once_the_build_is_over() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let build = || grant.build.clone();
    store.append(build(), &grant.lease.token, 0, events(0..4))?;
    // Somebody else's, who had stored a part of it at the same time.
    let files = dir.path().join("c/1/events");
    let names = [
        "00000000000000000000-00000000000000000004.jsonl",
        "00000000000000000001-00000000000000000003.jsonl",
    ];
    let text = fs::read_to_string(files.join(names[0]))?;
    fs::write(
        files.join(names[1]),
        text.lines().skip(1).take(2).map(|line| format!("{line}\n")).collect::<String>(),
    )?;
    assert!(store.prune_output(build()).is_err());
    finish(&store, &grant, 4, Status::Success)?;
    assert_eq!((store.prune_output(build())?, store.prune_output(build())?), (8, 0));
    assert!(!files.join(names[1]).exists());
    assert!(store.get_build(build())?.is_some_and(|build| build.pruned && build.next_seq == 4));
    let mut expected = events(0..4);
    for event in &mut expected {
        dcd_plugin_sdk::history::prune(event);
    }
    assert_eq!(store.read_events(build(), None, 0, 9)?.items, expected);
    Ok(())
}

#[test]
fn racing_writers_all_get_into_the_queue() -> Tested {
    let dir = TempDir::new()?;
    let racers: Vec<_> = (0..8)
        .map(|racer| {
            let path = dir.path().display().to_string();
            std::thread::spawn(move || -> Result<(), Error> {
                let store = HistoryDir::open(Config { path })?;
                for lap in 0..16 {
                    let ticket = format!("{racer}-{lap}");
                    store.acquire_lock("deploy/prod", &ticket, "me", u32::MAX)?;
                    if lap > 0 {
                        assert!(store.release_lock("deploy/prod", &ticket)?);
                    }
                }
                Ok(())
            })
        })
        .collect();
    for racer in racers {
        racer.join().map_err(|_| Error::other("a racer panicked"))??;
    }
    let locks = open(&dir)?.list_locks()?;
    assert_eq!((locks.len(), locks[0].name.as_str()), (1, "deploy/prod"));
    let tickets: BTreeSet<_> = locks[0].queue.iter().map(|place| place.ticket.clone()).collect();
    assert_eq!(tickets, (0..8).map(|racer| format!("{racer}-0")).collect());
    Ok(())
}

#[test]
fn old_states_of_a_queue_are_removed() -> Tested {
    let dir = TempDir::new()?;
    let store = open(&dir)?;
    for _ in 0..40 {
        store.acquire_lock("l", "a", "me", 60_000)?;
    }
    let files = dir.path().join(".locks/l");
    for entry in fs::read_dir(&files)? {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
        fs::File::open(entry?.path())?.set_modified(long_ago)?;
    }
    for _ in 0..24 {
        store.acquire_lock("l", "a", "me", 60_000)?;
    }
    assert_eq!(fs::read_dir(&files)?.count(), 24);
    assert_eq!(store.list_locks()?[0].queue.len(), 1);
    Ok(())
}
