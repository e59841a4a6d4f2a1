//! Whatever breaks off anywhere: the call is repeated, by another instance, and all is as it should be.

use super::*;

/// Breaks off at each request in turn, and each time has `check` look at what is left.
fn everywhere(
    act: impl Fn(&Bucket) -> Tested,
    prepare: impl Fn(&Bucket) -> Tested,
    check: impl Fn(&Bucket) -> Tested,
) -> Tested {
    for how in [Breakdown::Before, Breakdown::After] {
        let mut nth = 0;
        loop {
            let bucket = Bucket::default();
            prepare(&bucket)?;
            bucket.break_at(nth, how);
            let outcome = act(&bucket);
            if !bucket.mend() {
                outcome?;
                break;
            }
            if let Err(error) = outcome {
                assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
            }
            check(&bucket).map_err(|error| error.context(format!("broken at {nth}, {how:?}")))?;
            nth += 1;
        }
        assert!(nth > 0);
    }
    Ok(())
}

fn begun(bucket: &Bucket, run: &str) -> Result<Grant, Error> {
    bucket.open()?.begin_build(new_build("c", run, 1))
}

#[test]
fn a_begin_that_broke_off_is_taken_up() -> Tested {
    let check = |others_first: bool| {
        move |bucket: &Bucket| {
            let other = if others_first { Some(begun(bucket, "other")?.build.number) } else { None };
            let number = begun(bucket, "a")?.build.number;
            assert_eq!(begun(bucket, "a")?.build.number, number);
            let other = other.map_or_else(|| begun(bucket, "other").map(|grant| grant.build.number), Ok)?;
            let mut both = [number, other];
            both.sort_unstable();
            assert_eq!(both, [2, 3], "no gap, and no number twice");
            assert_eq!(numbers(&bucket.open()?, &any(), 9)?, [3, 2, 1]);
            Ok(())
        }
    };
    let act = |bucket: &Bucket| begun(bucket, "a").map(drop);
    let prepare = |bucket: &Bucket| begun(bucket, "first").map(drop);
    everywhere(act, prepare, check(false))?;
    everywhere(act, prepare, check(true))
}

#[test]
fn an_answer_that_is_lost_is_not_a_second_write() -> Tested {
    for nth in 0..12 {
        let bucket = Bucket::default();
        whole(&bucket.open()?, "c", "first", 1)?;
        bucket.lose_answer(nth);
        let grant = whole(&bucket.open()?, "c", "a", 1)?;
        bucket.mend();
        assert_eq!((grant.build.number, grant.lease.fence), (2, 1), "{nth}");
        let read = bucket.open()?.read_events(grant.build, None, 0, 9)?;
        assert_eq!((read.items, read.next_seq), (events(0..1), None), "{nth}");
    }
    Ok(())
}

#[test]
fn an_append_that_broke_off_is_repeated() -> Tested {
    let prepare = |bucket: &Bucket| {
        let store = bucket.open()?;
        let grant = store.begin_build(new_build("c", "a", 1))?;
        store.append(grant.build, &grant.lease.token, 0, events(0..3)).map(drop)
    };
    let act = |bucket: &Bucket| {
        let grant = begun(bucket, "a")?;
        let store = bucket.open()?;
        store.append(grant.build.clone(), &grant.lease.token, 3, events(3..5))?;
        store.append(grant.build.clone(), &grant.lease.token, 5, events(5..6))?;
        store.finish_build(grant.build, &grant.lease.token, 6, Status::Success, 9, "{}".into()).map(drop)
    };
    let check = |bucket: &Bucket| {
        let grant = begun(bucket, "a")?;
        let from = grant.next_seq;
        let store = bucket.open()?;
        let stored = store.append(grant.build.clone(), &grant.lease.token, from, events(from..6))?;
        assert_eq!(stored, WriteOutcome::Stored(6));
        store.finish_build(grant.build.clone(), &grant.lease.token, 6, Status::Success, 9, "{}".into())?;
        let read = store.read_events(grant.build, None, 0, 9)?;
        assert_eq!((read.items, read.next_seq), (events(0..6), None));
        Ok(())
    };
    everywhere(act, prepare, check)
}

#[test]
fn a_prune_that_broke_off_is_repeated() -> Tested {
    let id = || BuildId { component: "c".into(), number: 1 };
    let prepare = |bucket: &Bucket| {
        let store = bucket.open()?;
        let grant = store.begin_build(new_build("c", "a", 1))?;
        for seq in 0..3 {
            store.append(grant.build.clone(), &grant.lease.token, seq, vec![large(seq, 70_000)])?;
        }
        store.finish_build(grant.build, &grant.lease.token, 3, Status::Success, 9, "{}".into()).map(drop)
    };
    let check = |bucket: &Bucket| {
        bucket.open()?.prune_output(id())?;
        let store = bucket.open()?;
        assert_eq!(store.prune_output(id())?, 0);
        let read = store.read_events(id(), None, 0, 9)?;
        assert!(
            read.items.iter().all(|event| matches!(event.payload, Payload::Json(_))) && read.items.len() == 3
        );
        Ok(())
    };
    everywhere(|bucket| bucket.open()?.prune_output(id()).map(drop), prepare, check)
}

#[test]
fn moving_builds_that_broke_off_loses_none() -> Tested {
    let prepare = |bucket: &Bucket| {
        for run in 1..=19 {
            whole(&bucket.open()?, "c", &run.to_string(), run)?;
        }
        bucket.open()?.begin_build(new_build("c", "20", 20)).map(drop)
    };
    let act = |bucket: &Bucket| settle::settle(&bucket.open()?.store, "c");
    let check = |bucket: &Bucket| {
        assert_eq!(numbers(&bucket.open()?, &any(), 50)?, (1..=20).rev().collect::<Vec<_>>());
        settle::settle(&bucket.open()?.store, "c")?;
        assert_eq!(numbers(&bucket.open()?, &any(), 50)?, (1..=20).rev().collect::<Vec<_>>());
        assert!(bucket.text("components/c").contains("\"through\":20"));
        Ok(())
    };
    everywhere(act, prepare, check)
}

#[test]
fn a_lock_that_broke_off_is_had_once() -> Tested {
    let act = |bucket: &Bucket| {
        let store = bucket.open()?;
        store.acquire_lock("prod", "1", "anna", 60_000)?;
        store.release_lock("prod", "1").map(drop)
    };
    let check = |bucket: &Bucket| {
        let store = bucket.open()?;
        store.acquire_lock("prod", "1", "anna", 60_000)?;
        let lock = store.acquire_lock("prod", "2", "bea", 60_000)?;
        assert_eq!(lock.queue.iter().map(|place| place.ticket.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        Ok(())
    };
    everywhere(act, |_| Ok(()), check)
}
