//! Events of all sizes, and what reading one step's of them costs.

use super::*;

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn events_of_all_sizes_are_kept() {
    for (name, url) in servers() {
        let (backend, line) = open(&url, &table("sizes"));
        let grant = backend.begin_build(build("run")).unwrap();
        let lengths = [0, 1, 1023, 1024, 200_000, 390_000, 400_000, 1 << 20, 4 << 20];
        let mut all: Vec<_> = lengths
            .iter()
            .zip(0..)
            .map(|(length, seq)| Event {
                payload: Payload::Bytes(noise(*length, seq)),
                kind: "step.output".into(),
                step: Some(format!("step {}", seq % 2)),
                ..event(seq)
            })
            .collect();
        assert_eq!(append(&backend, &grant, all.clone()), "Stored(9)", "{name}");
        let text = "grüezi ".repeat(1 << 19);
        all.push(Event { payload: Payload::Json(format!("\"{text}\"")), ..event(9) });
        assert_eq!(append(&backend, &grant, all[9..].to_vec()), "Stored(10)", "{name}");
        assert_events(&backend, &grant.build, &all);
        let of_step = read_all(&backend, &grant.build, Some("step 1"), 500);
        assert_eq!(of_step.len(), 4);
        finish(&backend, &grant, 10);
        let bytes = lengths.iter().sum::<usize>() as u64;
        assert_eq!(backend.prune_output(grant.build.clone()).unwrap(), bytes, "{name}");
        for event in &mut all {
            _ = dcd_plugin_sdk::history::prune(event);
        }
        assert_events(&backend, &grant.build, &all);
        line.sent();
    }
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn one_step_s_events_cost_a_part_of_the_build_s() {
    let (_, url) = &servers()[0];
    let (backend, line) = open(url, &table("step"));
    let grant = backend.begin_build(build("run")).unwrap();
    // Twenty steps, one after the other, with 100 KB each that do not compress.
    let all: Vec<_> = (0..200)
        .map(|seq| Event {
            payload: Payload::Bytes(noise(10_000, seq)),
            kind: "step.output".into(),
            step: Some(format!("step {}", seq / 10)),
            ..event(seq)
        })
        .collect();
    for batch in all.chunks(10) {
        append(&backend, &grant, batch.to_vec());
    }
    finish(&backend, &grant, 200);
    let cost = |step| {
        line.sent();
        let count = read_all(&backend, &grant.build, step, 500).len();
        (count, line.sent().iter().map(|sent| sent.units).sum::<f64>())
    };
    let (all, whole) = cost(None);
    let (some, part) = cost(Some("step 7"));
    assert_eq!((all, some), (200, 10));
    assert!(part < whole / 10.0, "{part} of {whole} units");
}
