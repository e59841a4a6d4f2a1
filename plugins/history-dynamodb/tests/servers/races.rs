//! Writers at the same time, in threads of their own, each with its own connection.

use std::thread;

use super::*;

/// As a runner does: what is unavailable is tried again.
fn begin(backend: &HistoryDynamodb, run: &str) -> u64 {
    loop {
        match backend.begin_build(build(run)) {
            Err(Error::Unavailable(_)) => {}
            other => return other.unwrap().build.number,
        }
    }
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn numbers_have_no_gap_and_no_duplicate() {
    let (_, url) = &servers()[0];
    let table = table("race-begin");
    open(url, &table).0.check().unwrap();
    // Each run is begun by two of them.
    let racer = |racer: usize| {
        let (url, table) = (url.clone(), table.clone());
        thread::spawn(move || {
            let (backend, _line) = open(&url, &table);
            (0..3)
                .map(|lap| (lap, racer / 2))
                .map(|(lap, pair)| {
                    let run = format!("run {pair} {lap}");
                    (run.clone(), begin(&backend, &run))
                })
                .collect::<Vec<_>>()
        })
    };
    let racers: Vec<_> = (0..32).map(racer).collect();
    let mut given: Vec<_> = racers.into_iter().flat_map(|racer| racer.join().unwrap()).collect();
    given.sort();
    given.dedup();
    let mut numbers: Vec<_> = given.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=48).collect::<Vec<_>>());
    assert_eq!(given.len(), 48, "a run has two numbers");
    let (backend, _line) = open(url, &table);
    let mut all = listed(&backend, None, 7);
    all.sort_unstable();
    assert_eq!(all, (1..=48).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_lock_has_one_holder_at_a_time() {
    let (_, url) = &servers()[0];
    let table = table("race-lock");
    open(url, &table).0.check().unwrap();
    let holders = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
    let racer = |racer: usize| {
        let (url, table, holders) = (url.clone(), table.clone(), holders.clone());
        thread::spawn(move || {
            let (backend, _line) = open(&url, &table);
            let ticket = format!("ticket {racer}");
            loop {
                // As a runner does: what is unavailable is tried again.
                let Ok(lock) = backend.acquire_lock("deploy", &ticket, "x", 60_000) else { continue };
                if lock.queue[0].ticket == ticket {
                    break;
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
            {
                let mut holders = holders.lock().unwrap();
                holders.0 += 1;
                assert_eq!(holders.0, 1, "two hold the lock");
            }
            thread::sleep(std::time::Duration::from_millis(5));
            {
                let mut holders = holders.lock().unwrap();
                holders.0 -= 1;
                holders.1 += 1;
            }
            while backend.release_lock("deploy", &ticket).is_err() {}
        })
    };
    let racers: Vec<_> = (0..6).map(racer).collect();
    for racer in racers {
        racer.join().unwrap();
    }
    assert_eq!(*holders.lock().unwrap(), (0, 6));
}
