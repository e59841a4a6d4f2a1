//! Answers that are lost, requests that arrive late, and writers that died.

use super::*;
use crate::line::Fate;

/// Each request of a begin in turn is carried out without an answer, or does not arrive; the runner tries again.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_run_has_one_number_whatever_is_lost() {
    for (name, url) in servers() {
        let table = table("lost-begin");
        let (backend, line) = open(&url, &table);
        let mut number = 0;
        for (operation, before) in [("Query", 0), ("PutItem", 0), ("PutItem", 1), ("PutItem", 2)] {
            for fate in [Fate::AnswerLost, Fate::Lost, Fate::Late] {
                number += 1;
                let new = build(&format!("run {number}"));
                line.next(operation, &[vec![Fate::Answered; before], vec![fate]].concat());
                unavailable(&backend.begin_build(new.clone()));
                line.assert_used();
                let grant = another(&url, &table).begin_build(new.clone()).unwrap();
                assert_eq!(grant.build.number, number, "{name} {operation} {fate:?} {before}");
                line.deliver();
                let again = backend.begin_build(new).unwrap();
                assert_eq!(again.build.number, number, "{name} {operation} {fate:?} {before}");
                assert!(again.lease.fence > grant.lease.fence);
            }
        }
        assert_eq!(listed(&backend, Some("shop"), 5), (1..=number).rev().collect::<Vec<_>>());
        let mut all = listed(&backend, None, 5);
        all.sort_unstable();
        assert_eq!(all, (1..=number).collect::<Vec<_>>());
    }
}

/// Another run takes the number while the first one's request is on its way.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_number_that_another_run_got_is_looked_past() {
    for (_, url) in servers() {
        let table = table("late-begin");
        let (backend, line) = open(&url, &table);
        let (one, two) = (build("one"), build("two"));
        line.next("PutItem", &[Fate::Answered, Fate::Answered, Fate::Late]);
        unavailable(&backend.begin_build(one.clone()));
        assert_eq!(backend.begin_build(two.clone()).unwrap().build.number, 1);
        line.deliver();
        assert_eq!(backend.begin_build(one).unwrap().build.number, 2);
        assert_eq!(backend.begin_build(two).unwrap().build.number, 1);
        assert_eq!(listed(&backend, Some("shop"), 5), [2, 1]);
        let mut all = listed(&backend, None, 5);
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    }
}

/// Each request of an append in turn, of chunks with and without parts; the runner sends the batch again, cut elsewhere.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn events_are_stored_once_whatever_is_lost() {
    for (name, url) in servers() {
        let table = table("lost-append");
        let (backend, line) = open(&url, &table);
        let grant = backend.begin_build(build("run")).unwrap();
        let mut next = 0;
        for (length, puts) in [(2, 1), (30, 2)] {
            let requests: Vec<_> = (0..puts).map(|put| ("PutItem", put)).chain([("UpdateItem", 0)]).collect();
            for (operation, before) in requests {
                for fate in [Fate::AnswerLost, Fate::Lost, Fate::Late] {
                    for again in [1, length, length + 3] {
                        let what = format!("{name} {operation} {before} {fate:?} {again}");
                        line.next(operation, &[vec![Fate::Answered; before], vec![fate]].concat());
                        let batch = events(next..next + length);
                        unavailable(&backend.append(grant.build.clone(), &grant.lease.token, next, batch));
                        line.assert_used();
                        let outcome = append(&backend, &grant, events(next..next + again));
                        // Whole chunks are taken up that are there.
                        let stored =
                            [format!("Stored({})", next + again), format!("Stored({})", next + length)];
                        assert!(stored.contains(&outcome), "{what}: {outcome}");
                        line.deliver();
                        let end = backend.get_build(grant.build.clone()).unwrap().unwrap().next_seq;
                        assert!(end >= next + again, "{what}: {end}");
                        next = end;
                        assert_events(&another(&url, &table), &grant.build, &events(0..next));
                    }
                }
            }
        }
        assert_eq!(finish(&backend, &grant, next), format!("Stored({next})"));
    }
}

/// What a writer wrote that was not counted before another took the build over, whether it came before or after.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn what_a_fenced_writer_left_is_not_there() {
    for (name, url) in servers() {
        let table = table("fenced");
        for (number, fate) in [(1, Fate::AnswerLost), (2, Fate::Late)] {
            let (old, line) = open(&url, &table);
            let run = build(&format!("run {number}"));
            let first = old.begin_build(run.clone()).unwrap();
            assert_eq!(append(&old, &first, events(0..5)), "Stored(5)");
            // The events come, then their head.
            line.next("PutItem", &[Fate::Answered, fate]);
            unavailable(&old.append(first.build.clone(), &first.lease.token, 5, events(5..60)));
            line.assert_used();
            let new = another(&url, &table);
            let second = new.begin_build(run).unwrap();
            assert_eq!((second.build.number, second.next_seq), (number, 5));
            assert_eq!(append(&new, &second, events(5..8)), "Stored(8)");
            line.deliver();
            assert_eq!(append(&old, &first, events(5..60)), "Fenced");
            assert_eq!(append(&old, &first, events(0..3)), "Fenced");
            assert_eq!(append(&new, &second, events(8..9)), "Stored(9)");
            assert_events(&new, &second.build, &events(0..9));
            for from in 0..9 {
                let page = new.read_events(second.build.clone(), None, from, 2).unwrap();
                assert_eq!(page.items.first().map(|event| event.seq), Some(from));
            }
            assert!(old.renew_lease(first.build.clone(), &first.lease.token, 1000).unwrap().is_none());
            assert_eq!(finish(&old, &first, 9), "Fenced");
            assert_eq!(finish(&new, &second, 9), "Stored(9)");
            // Pruning deletes what was never counted, too.
            assert_eq!(line.count(&table, &format!("chunk#shop#{number}")), 4, "{name}");
            assert_eq!(new.prune_output(second.build.clone()).unwrap(), 7 * 5);
            assert_eq!(line.count(&table, &format!("chunk#shop#{number}")), 3);
            assert_eq!(line.count(&table, &format!("data#shop#{number}")), 0);
        }
    }
}

/// A prune that dies after any of its requests is made good by the next.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn pruning_can_be_repeated_from_anywhere() {
    for (name, url) in servers() {
        let table = table("lost-prune");
        let (backend, line) = open(&url, &table);
        let mut expected = Vec::new();
        for (run, operation, before) in [
            ("a", "PutItem", 0),
            ("b", "PutItem", 1),
            ("c", "DeleteItem", 0),
            ("d", "DeleteItem", 1),
            ("e", "UpdateItem", 0),
            ("f", "BatchGetItem", 1),
        ] {
            for fate in [Fate::AnswerLost, Fate::Lost] {
                let grant = backend.begin_build(build(&format!("{run} {fate:?}"))).unwrap();
                append(&backend, &grant, events(0..40));
                append(&backend, &grant, events(40..90));
                append(&backend, &grant, events(90..91));
                finish(&backend, &grant, 91);
                let bytes: usize = (0..91).step_by(2).map(|seq| format!("line {seq}\n").len()).sum();
                line.next(operation, &[vec![Fate::Answered; before], vec![fate]].concat());
                unavailable(&backend.prune_output(grant.build.clone()));
                line.assert_used();
                let left = another(&url, &table).prune_output(grant.build.clone()).unwrap();
                assert!(left <= bytes as u64, "{name} {operation} {before} {fate:?}");
                assert_eq!(backend.prune_output(grant.build.clone()).unwrap(), 0);
                assert!(backend.get_build(grant.build.clone()).unwrap().unwrap().pruned);
                if expected.is_empty() {
                    expected = events(0..91);
                    for event in &mut expected {
                        _ = dcd_plugin_sdk::history::prune(event);
                    }
                }
                assert_events(&backend, &grant.build, &expected);
                let parts = line.count(&table, &format!("data#shop#{}", grant.build.number));
                assert_eq!(parts, 0, "{name} {operation} {before} {fate:?}");
            }
        }
    }
}

/// The answer to a change of a lock's queue is lost.
#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_ticket_has_one_place_whatever_is_lost() {
    for (_, url) in servers() {
        let (backend, line) = open(&url, &table("lost-lock"));
        for fate in [Fate::AnswerLost, Fate::Lost, Fate::Late] {
            line.next("PutItem", &[fate]);
            unavailable(&backend.acquire_lock("deploy", "t1", "anna", 60_000));
            backend.acquire_lock("deploy", "t1", "anna", 60_000).unwrap();
            line.deliver();
            let lock = backend.acquire_lock("deploy", "t2", "ben", 60_000).unwrap();
            let tickets: Vec<_> = lock.queue.iter().map(|place| place.ticket.as_str()).collect();
            assert_eq!(tickets, ["t1", "t2"]);
            assert!(backend.release_lock("deploy", "t1").unwrap());
            line.next("DeleteItem", &[fate]);
            unavailable(&backend.release_lock("deploy", "t2"));
            _ = backend.release_lock("deploy", "t2").unwrap();
            line.deliver();
            assert!(!backend.release_lock("deploy", "t2").unwrap());
            assert_eq!(backend.list_locks().unwrap().len(), 0);
        }
    }
}
