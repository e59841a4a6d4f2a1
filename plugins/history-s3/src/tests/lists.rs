//! Lists, and what makes them quick.

use std::time::Duration;

use super::*;

/// A bucket with so many finished builds, each started a second after the one before.
fn filled(many: u64) -> Result<Bucket, Error> {
    let bucket = Bucket::default();
    for run in 1..=many {
        whole(&bucket.open()?, "shop", &run.to_string(), run * 1000)?;
    }
    Ok(bucket)
}

#[test]
fn builds_are_listed_newest_first_while_others_begin() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    for (component, run, started_at) in
        [("a", "1", 10), ("b", "2", 20), ("a", "3", 30), ("b", "4", 40), ("a", "5", 50)]
    {
        store.begin_build(new_build(component, run, started_at))?;
    }
    let runs = |page: &BuildPage| page.items.iter().map(|build| build.run_id.clone()).collect::<Vec<_>>();
    let first = store.list_builds(any(), page(2))?;
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
    assert_eq!(runs(&store.list_builds(filter, page(9))?), ["5", "3"]);
    let filter = BuildFilter { statuses: vec![Status::Success], ..any() };
    assert_eq!(store.list_builds(filter, page(9))?.items, []);
    assert!(store.list_builds(any(), Page { limit: 9, cursor: Some("x".into()) }).is_err());
    Ok(())
}

#[test]
fn a_list_has_what_each_record_has() -> Tested {
    let bucket = filled(65)?;
    assert_eq!(bucket.keys("segments/").len(), 1);
    let store = bucket.open()?;
    for limit in [1, 7, 65, 1000] {
        assert_eq!(numbers(&store, &any(), limit)?, (1..=65).rev().collect::<Vec<_>>());
    }
    for mut build in store.list_builds(any(), page(100))?.items {
        let mut alone = store.get_build(build.id.clone())?.ok_or_else(|| Error::other("none"))?;
        (build.as_of, alone.as_of) = (0, 0);
        assert_eq!(build, alone);
    }
    let within = BuildFilter { started_after: Some(10_000), started_before: Some(63_000), ..any() };
    assert_eq!(numbers(&store, &within, 9)?, (11..63).rev().collect::<Vec<_>>());
    let metadata = |text: &str| BuildFilter { metadata: vec![("sha".into(), text.into())], ..any() };
    assert_eq!(numbers(&store, &metadata("abc"), 9)?.len(), 65);
    assert_eq!(numbers(&store, &metadata("x"), 9)?, [0; 0]);
    Ok(())
}

#[test]
fn builds_that_run_on_come_into_a_segment_later() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let slow = store.begin_build(new_build("shop", "slow", 1))?;
    for run in 2..=40 {
        whole(&bucket.open()?, "shop", &run.to_string(), run)?;
    }
    let running = BuildFilter { statuses: vec![Status::Running], ..any() };
    assert_eq!(numbers(&store, &running, 5)?, [1]);
    assert_eq!(numbers(&store, &any(), 100)?, (1..=40).rev().collect::<Vec<_>>());
    assert!(bucket.text("components/shop").contains("\"loose\":[1]"));

    store.append(slow.build.clone(), &slow.lease.token, 0, events(0..1))?;
    store.finish_build(slow.build, &slow.lease.token, 1, Status::Timeout, 99, "{}".into())?;
    assert_eq!(numbers(&store, &running, 5)?, [0; 0]);
    let late = BuildFilter { statuses: vec![Status::Timeout], ..any() };
    assert_eq!(numbers(&store, &late, 5)?, [1]);
    for run in 41..=60 {
        whole(&bucket.open()?, "shop", &run.to_string(), run)?;
    }
    assert!(bucket.text("components/shop").contains("\"loose\":[]"));
    assert_eq!(numbers(&store, &late, 5)?, [1]);
    Ok(())
}

#[test]
fn a_build_lost_for_long_is_moved_and_comes_back() -> Tested {
    let mut bucket = Bucket::default();
    let lost = bucket.open()?.begin_build(new_build("shop", "lost", 1))?;
    for run in 2..=20 {
        whole(&bucket.open()?, "shop", &run.to_string(), run)?;
    }
    assert!(bucket.text("components/shop").contains("\"loose\":[1]"));
    // Two days later.
    bucket.ahead = Duration::from_hours(48);
    for run in 21..=40 {
        whole(&bucket.open()?, "shop", &run.to_string(), run)?;
    }
    assert!(bucket.text("components/shop").contains("\"loose\":[]"));
    let running = BuildFilter { statuses: vec![Status::Running], ..any() };
    assert_eq!(numbers(&bucket.open()?, &running, 5)?, [1]);

    // Its runner wakes up, with the lease that it had.
    let store = bucket.open()?;
    assert_eq!(
        store.append(lost.build.clone(), &lost.lease.token, 0, events(0..3))?,
        WriteOutcome::Stored(3)
    );
    let listed = store.list_builds(running.clone(), page(5))?;
    assert_eq!(listed.items.iter().map(|build| build.next_seq).collect::<Vec<_>>(), [3]);
    store.finish_build(lost.build, &lost.lease.token, 3, Status::Failure, 9, "{}".into())?;
    assert_eq!(numbers(&store, &running, 5)?, [0; 0]);
    assert_eq!(numbers(&store, &any(), 5)?, (1..=40).rev().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn pruning_is_seen_in_a_segment() -> Tested {
    let bucket = filled(40)?;
    let store = bucket.open()?;
    assert_eq!(store.prune_output(BuildId { component: "shop".into(), number: 3 })?, 2);
    let pruned = |store: &HistoryS3| -> Result<Vec<u64>, Error> {
        let all = store.list_builds(any(), page(100))?.items;
        Ok(all.iter().filter(|build| build.pruned).map(|build| build.id.number).collect())
    };
    assert_eq!(pruned(&store)?, [3]);
    whole(&store, "shop", "x", 1)?;
    settle::settle(&store.store, "shop")?;
    assert_eq!(pruned(&store)?, [3]);
    Ok(())
}

#[test]
fn what_changes_while_it_is_moved_is_read_from_its_record() -> Tested {
    let bucket = filled(19)?;
    // A record that changes between the look and the second look: as if another had pruned it just then.
    let key = "builds/shop/0000000005";
    let store = bucket.open()?;
    store.begin_build(new_build("shop", "20", 1))?;
    let version = document::read::<Record>(&store.store, key)?.ok_or_else(|| Error::other("none"))?;
    settle::settle(&store.store, "shop")?;
    bucket.edit(key, "\"revision\":3", "\"revision\":4");
    settle::look_again_at(&store.store, "shop", &[(version, key)])?;
    assert!(bucket.text("components/shop").contains("\"loose\":[5,20]"));
    assert_eq!(numbers(&store, &any(), 50)?, (1..=20).rev().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_highest_number_that_is_not_noted_is_found() -> Tested {
    let bucket = filled(8)?;
    bucket.edit("components/shop", "\"highest\":8", "\"highest\":2");
    assert_eq!(numbers(&bucket.open()?, &any(), 3)?, (1..=8).rev().collect::<Vec<_>>());
    assert_eq!(bucket.open()?.begin_build(new_build("shop", "x", 1))?.build.number, 9);
    Ok(())
}
