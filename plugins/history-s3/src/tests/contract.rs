//! What every backend does.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

#[test]
fn a_run_keeps_its_number_and_each_begin_takes_the_lease() -> Tested {
    let bucket = Bucket::default();
    let first = bucket.open()?.begin_build(new_build("team/shop", "a", 1))?;
    let other = bucket.open()?.begin_build(new_build("team/shop", "b", 2))?;
    let again = bucket.open()?.begin_build(new_build("team/shop", "a", 1))?;
    assert_eq!((first.build.number, other.build.number, again.build.number), (1, 2, 1));
    assert_eq!((first.lease.fence, again.lease.fence), (1, 2));
    assert_ne!(first.lease.token, again.lease.token);

    let store = bucket.open()?;
    let build = || first.build.clone();
    let old = first.lease.token.as_str();
    assert_eq!(store.append(build(), old, 0, events(0..1))?, WriteOutcome::Fenced);
    assert_eq!(store.finish_build(build(), old, 0, Status::Success, 9, "{}".into())?, WriteOutcome::Fenced);
    assert_eq!(store.renew_lease(build(), old, 1)?, None);
    let renewed = store.renew_lease(build(), &again.lease.token, 120_000)?;
    assert!(renewed.is_some_and(|lease| lease.fence == 2 && lease.expires_at > again.lease.expires_at));
    Ok(())
}

#[test]
fn a_writer_that_does_not_know_that_it_is_fenced_stores_nothing() -> Tested {
    let bucket = Bucket::default();
    let old = bucket.open()?;
    let grant = old.begin_build(new_build("c", "a", 1))?;
    old.append(grant.build.clone(), &grant.lease.token, 0, events(0..2))?;
    let new = bucket.open()?;
    let taken = new.begin_build(new_build("c", "a", 1))?;
    // It still has the record and the chunk as they were.
    assert_eq!(old.append(grant.build.clone(), &grant.lease.token, 2, events(2..4))?, WriteOutcome::Fenced);
    let mut other = event(2);
    other.at = 77;
    assert_eq!(
        new.append(taken.build.clone(), &taken.lease.token, 2, vec![other.clone()])?,
        WriteOutcome::Stored(3)
    );
    let read = new.read_events(taken.build, None, 0, 10)?;
    assert_eq!(read.items, [events(0..2), vec![other]].concat());
    Ok(())
}

#[test]
fn appends_are_contiguous_and_repeatable() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let append = |first: u64, list: Vec<Event>| {
        bucket.open()?.append(grant.build.clone(), &grant.lease.token, first, list)
    };
    assert_eq!(append(0, events(0..5))?, WriteOutcome::Stored(5));
    assert_eq!(append(0, events(0..5))?, WriteOutcome::Stored(5));
    assert_eq!(append(3, events(3..8))?, WriteOutcome::Stored(8));
    assert_eq!(append(9, events(9..10))?, WriteOutcome::Gap(8));
    assert_eq!(append(8, vec![])?, WriteOutcome::Stored(8));
    assert!(append(8, events(9..10)).is_err());

    let build = || grant.build.clone();
    let finish =
        |seq| store.finish_build(build(), &grant.lease.token, seq, Status::Failure, 77, " {}".into());
    assert_eq!(finish(7)?, WriteOutcome::Gap(8));
    assert_eq!(finish(8)?, WriteOutcome::Stored(8));
    assert_eq!(finish(8)?, WriteOutcome::Stored(8));
    assert_eq!(append(3, events(3..8))?, WriteOutcome::Stored(8));
    assert!(append(8, events(8..9)).is_err());

    let stored = store.get_build(build())?;
    let facts = stored.map(|b| (b.status, b.finished_at, b.next_seq, b.metadata, b.summary));
    let summary = Some(" {}".to_owned());
    assert_eq!(facts, Some((Status::Failure, Some(77), 8, "{\"sha\":  \"abc\"}".into(), summary)));
    assert_eq!(store.get_build(BuildId { component: "c".into(), number: 2 })?, None);
    let unknown = BuildId { component: "x".into(), number: 1 };
    assert!(matches!(store.read_events(unknown, None, 0, 1), Err(Error::NotFound(_))));
    Ok(())
}

#[test]
fn small_batches_share_a_chunk_and_large_ones_have_several() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let append = |list: Vec<Event>| store.append(grant.build.clone(), &grant.lease.token, list[0].seq, list);
    for seq in 0..50 {
        assert_eq!(append(events(seq..seq + 1))?, WriteOutcome::Stored(seq + 1));
    }
    assert_eq!(bucket.keys("events/").len(), 1);
    append((50..60).map(|seq| large(seq, 1 << 20)).collect())?;
    assert_eq!(bucket.keys("events/").len(), 3);
    append(events(60..61))?;
    assert_eq!(bucket.keys("events/").len(), 4);
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = store.read_events(grant.build.clone(), None, from, 1000)?;
        assert!(page.items.len() < 56, "a page of large events is short");
        from = page.next_seq.unwrap_or_default();
        all.extend(page.items);
        if from == 61 {
            break;
        }
    }
    let expected: Vec<_> = events(0..50)
        .into_iter()
        .chain((50..60).map(|seq| large(seq, 1 << 20)))
        .chain(events(60..61))
        .collect();
    assert_eq!(all, expected);
    Ok(())
}

#[test]
fn events_are_read_in_pages() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let (build, token) = (|| grant.build.clone(), grant.lease.token.as_str());
    store.append(build(), token, 0, events(0..4))?;
    bucket.open()?.append(build(), token, 4, events(4..6))?;
    let page = store.read_events(build(), None, 1, 4)?;
    assert_eq!((page.items, page.next_seq), (events(1..5), Some(5)));
    // The build goes on: there will be more.
    let page = store.read_events(build(), None, 5, 4)?;
    assert_eq!((page.items, page.next_seq), (events(5..6), Some(6)));
    store.append(build(), token, 6, events(6..7))?;
    store.finish_build(build(), token, 7, Status::Success, 9, "{}".into())?;
    let page = store.read_events(build(), None, 6, 4)?;
    assert_eq!((page.items, page.next_seq), (events(6..7), None));
    let page = store.read_events(build(), Some("odd"), 0, 2)?;
    assert_eq!((page.items, page.next_seq), (vec![event(1), event(3)], Some(5)));
    let page = store.read_events(build(), Some("odd"), 5, 2)?;
    assert_eq!((page.items, page.next_seq), (vec![event(5)], None));
    let page = store.read_events(build(), Some("none"), 0, 2)?;
    assert_eq!((page.items, page.next_seq), (vec![], None));
    Ok(())
}

#[test]
fn racing_writers_get_numbers_without_gaps() -> Tested {
    let bucket = Bucket::default();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let bucket = bucket.clone();
            std::thread::spawn(move || -> Result<Vec<u64>, Error> {
                let begin = |i| bucket.open()?.begin_build(new_build("c", &format!("{writer}-{i}"), 1));
                (0..32).map(|i| Ok(begin(i)?.build.number)).collect()
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
fn racing_instances_of_one_run_get_one_number() -> Tested {
    let bucket = Bucket::default();
    for run in 0..20 {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let bucket = bucket.clone();
                std::thread::spawn(move || bucket.open()?.begin_build(new_build("c", &run.to_string(), 1)))
            })
            .collect();
        let mut grants = Vec::new();
        for racer in racers {
            grants.push(racer.join().map_err(|_| Error::other("a writer panicked"))??);
        }
        let numbers: BTreeSet<_> = grants.iter().map(|grant| grant.build.number).collect();
        assert_eq!(numbers, BTreeSet::from([run + 1]));
        let fences: BTreeSet<_> = grants.iter().map(|grant| grant.lease.fence).collect();
        assert_eq!(fences.len(), 4, "each got a lease of its own");
    }
    Ok(())
}

#[test]
fn a_component_whose_object_is_lost_goes_on() -> Tested {
    let bucket = Bucket::default();
    for run in ["a", "b", "c"] {
        whole(&bucket.open()?, "c", run, 1)?;
    }
    bucket.remove("components/c");
    assert_eq!(bucket.open()?.begin_build(new_build("c", "d", 1))?.build.number, 4);
    assert_eq!(bucket.open()?.begin_build(new_build("c", "b", 1))?.build.number, 2);
    Ok(())
}

#[test]
fn clocks_that_differ_harm_nothing() -> Tested {
    let mut bucket = Bucket::default();
    bucket.ahead = Duration::from_mins(10);
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let build = store.get_build(grant.build.clone())?.ok_or_else(|| Error::other("none"))?;
    let machine = u64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis(),
    )
    .unwrap_or_default();
    assert!(build.as_of.abs_diff(machine + 600_000) < 2000, "{} {machine}", build.as_of);
    assert!((58_000..62_000).contains(&(build.lease_expires_at - build.as_of)));
    let lock = store.acquire_lock("prod", "t", "anna", 60_000)?;
    assert!((58_000..=60_000).contains(&(lock.queue[0].expires_at - lock.as_of)));
    Ok(())
}

#[test]
fn output_is_dropped_and_nothing_else() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("c", "a", 1))?;
    let (build, token) = (|| grant.build.clone(), grant.lease.token.as_str());
    let list = vec![large(0, 100), Event { kind: "blob".into(), ..large(1, 50) }, large(2, 5)];
    store.append(build(), token, 0, list.clone())?;
    assert!(store.prune_output(build()).is_err(), "it is running");
    store.finish_build(build(), token, 3, Status::Success, 9, "{}".into())?;
    assert_eq!(bucket.open()?.prune_output(build())?, 105);
    assert_eq!(bucket.open()?.prune_output(build())?, 0);
    let page = store.read_events(build(), None, 0, 10)?;
    let mut expected = list;
    for event in &mut expected {
        dcd_plugin_sdk::history::prune(event);
    }
    assert_eq!((page.items, page.next_seq), (expected, None));
    assert!(store.get_build(build())?.is_some_and(|build| build.pruned && build.status == Status::Success));
    Ok(())
}

#[test]
fn a_lost_build_is_pruned_and_gone_on_with() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(NewBuild { lease_ttl_ms: 0, ..new_build("c", "a", 1) })?;
    let (build, token) = (|| grant.build.clone(), grant.lease.token.as_str());
    store.append(build(), token, 0, events(0..3))?;
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(bucket.open()?.prune_output(build())?, 6);
    // The runner was only asleep: it has to begin again.
    assert_eq!(store.append(build(), token, 3, events(3..4))?, WriteOutcome::Fenced);
    assert_eq!(bucket.keys("events/").len(), 1);
    let again = store.begin_build(new_build("c", "a", 1))?;
    assert_eq!(again.next_seq, 3);
    store.append(build(), &again.lease.token, 3, events(3..4))?;
    store.finish_build(build(), &again.lease.token, 4, Status::Success, 9, "{}".into())?;
    assert_eq!(store.prune_output(build())?, 2);
    assert_eq!(store.prune_output(build())?, 0);
    Ok(())
}

#[test]
fn locks_are_queues() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let tickets = |lock: &Lock| lock.queue.iter().map(|place| place.ticket.clone()).collect::<Vec<_>>();
    assert_eq!(tickets(&store.acquire_lock("deploy to prod", "1", "anna", 60_000)?), ["1"]);
    assert_eq!(tickets(&bucket.open()?.acquire_lock("deploy to prod", "2", "bea", 60_000)?), ["1", "2"]);
    assert_eq!(tickets(&store.acquire_lock("deploy to prod", "1", "anna", 60_000)?), ["1", "2"]);
    store.acquire_lock("a", "3", "anna", 60_000)?;
    let names: Vec<_> = store.list_locks()?.into_iter().map(|lock| lock.name).collect();
    assert_eq!(names, ["a", "deploy to prod"]);
    assert!(store.release_lock("deploy to prod", "1")?);
    assert!(!store.release_lock("deploy to prod", "1")?);
    assert!(!store.release_lock("never", "1")?);
    assert_eq!(store.renew_lock("deploy to prod", "1", 60_000)?, None);
    assert_eq!(
        store.renew_lock("deploy to prod", "2", 60_000)?.map(|lock| tickets(&lock)),
        Some(vec!["2".into()])
    );
    assert!(store.release_lock("deploy to prod", "2")? && store.release_lock("a", "3")?);
    assert_eq!(store.list_locks()?, []);
    Ok(())
}

#[test]
fn a_store_without_conditional_writes_is_refused() -> Tested {
    for (absent, same) in [(true, true), (true, false), (false, true)] {
        let bucket = Bucket::careless(absent, same);
        let store = bucket.open()?;
        for error in [
            store.check().err(),
            store.begin_build(new_build("c", "a", 1)).err(),
            store.begin_build(new_build("c", "a", 1)).err(),
            bucket.open()?.acquire_lock("prod", "1", "anna", 1000).err(),
        ] {
            let said = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains("does not honour conditional writes"), "{absent} {same}: {said}");
        }
        assert_eq!(bucket.keys(""), [layout::PROOF]);
        // Reading needs none.
        assert_eq!(store.list_builds(any(), page(10))?.items, []);
    }
    Ok(())
}

#[test]
fn a_check_leaves_nothing_behind() -> Tested {
    let bucket = Bucket::default();
    bucket.open()?.check()?;
    assert_eq!(bucket.keys(""), [""; 0]);
    let refused = Bucket::default();
    refused.always(403, "AccessDenied");
    assert!(matches!(refused.open()?.check(), Err(Error::Denied(_))));
    Ok(())
}
