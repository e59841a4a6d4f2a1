//! Clocks that are far from the server's.

use super::*;

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn leases_and_locks_go_by_the_server_s_clock() {
    for (_, url) in servers() {
        let table = table("skew");
        let (fast, line) = open(&url, &table);
        fast.check().unwrap();
        // This machine is ten minutes behind: leases, and when they are looked at, are the server's.
        line.set_ahead(600, false);
        let behind = another(&url, &table);
        let local = u64::try_from(line::nanoseconds() / 1_000_000).unwrap();
        let grant = behind.begin_build(build("run")).unwrap();
        let ahead = grant.lease.expires_at - local;
        assert!((658_000..665_000).contains(&ahead), "{ahead}");
        let record = behind.get_build(grant.build.clone()).unwrap().unwrap();
        let left = record.lease_expires_at - record.as_of;
        assert!((57_000..=61_000).contains(&left), "{left}");
        behind.acquire_lock("deploy", "t1", "anna", 60_000).unwrap();
        let lock = another(&url, &table).acquire_lock("deploy", "t2", "ben", 60_000).unwrap();
        assert_eq!(lock.queue.len(), 2);
        assert_eq!(lock.queue[0].ticket, "t1");
        assert!(matches!(behind.prune_output(grant.build), Err(Error::Other(_))), "it is running");
    }
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_signature_that_was_refused_for_its_time_is_made_anew() {
    for (_, url) in servers() {
        let (backend, line) = open(&url, &table("signature"));
        line.set_ahead(1200, true);
        assert_eq!(backend.begin_build(build("run")).unwrap().build.number, 1);
        assert_eq!(listed(&backend, None, 5), [1]);
    }
}
