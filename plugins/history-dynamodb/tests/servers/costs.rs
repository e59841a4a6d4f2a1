//! What a build costs, as docs/plugins/history-dynamodb.md says it.

use super::*;

/// How many requests there are of each operation, and what they cost in all.
fn bill(line: &Line) -> (String, f64) {
    let sent = line.sent();
    let mut operations: Vec<String> = Vec::new();
    for sent in &sent {
        match operations.last_mut() {
            Some(last) if last.split(' ').next() == Some(&sent.operation) => {
                let count: u32 = last.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
                *last = format!("{} {}", sent.operation, count + 1);
            }
            _ => operations.push(sent.operation.clone()),
        }
    }
    (operations.join(", "), sent.iter().map(|sent| sent.units).sum())
}

fn assert_bill(line: &Line, what: &str, operations: &str, units: f64) {
    let (got, cost) = bill(line);
    assert_eq!(got, operations, "{what}");
    assert!((cost - units).abs() < 0.01, "{what}: {cost} units");
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn a_build_costs_what_the_docs_say() {
    let (_, url) = &servers()[0];
    let (backend, line) = open(url, &table("costs"));
    backend.begin_build(build("first")).unwrap();
    line.sent();

    let grant = backend.begin_build(build("run")).unwrap();
    assert_bill(&line, "begin", "Query, PutItem 3", 1.0 + 3.0);
    append(&backend, &grant, events(0..8));
    assert_bill(&line, "a small append", "PutItem, UpdateItem", 1.0 + 1.0);
    // 50 KB of output, as tests print it.
    let case = |case: u32| format!("test engine::state::case_{case} ... ok, {} ms\n", case * 7 % 97);
    let output = (0..1000).map(case).collect::<Vec<_>>().concat();
    let event = Event { payload: Payload::Bytes(output.into_bytes()), ..event(8) };
    append(&backend, &grant, vec![event]);
    let (operations, units) = bill(&line);
    assert_eq!(operations, "PutItem 2, UpdateItem");
    assert!(units < 12.0, "{units}");
    backend.renew_lease(grant.build.clone(), &grant.lease.token, 60_000).unwrap();
    assert_bill(&line, "renewing", "UpdateItem", 1.0);
    finish(&backend, &grant, 9);
    assert_bill(&line, "finishing", "UpdateItem", 1.0);

    backend.get_build(grant.build.clone()).unwrap();
    assert_bill(&line, "getting", "GetItem", 1.0);
    listed(&backend, Some("shop"), 20);
    assert_bill(&line, "a list of one component", "Query", 1.0);
    listed(&backend, None, 20);
    assert_bill(&line, "a list of all", "Query, BatchGetItem", 1.0 + 2.0);
    read_all(&backend, &grant.build, None, 500);
    let (operations, _) = bill(&line);
    assert_eq!(operations, "GetItem, Query, BatchGetItem");
    backend.acquire_lock("deploy", "t", "anna", 60_000).unwrap();
    assert_bill(&line, "taking a lock", "GetItem, PutItem", 1.0 + 1.0);
    backend.release_lock("deploy", "t").unwrap();
    assert_bill(&line, "releasing it", "GetItem, DeleteItem", 1.0 + 1.0);
}
