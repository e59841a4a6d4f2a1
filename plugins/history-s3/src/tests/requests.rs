//! What a build costs. The figures are those of `docs/plugins/history-s3.md`.

use super::*;

#[test]
fn a_build_takes_few_requests() -> Tested {
    let bucket = Bucket::default();
    whole(&bucket.open()?, "shop", "first", 1)?;
    bucket.requests();

    let store = bucket.open()?;
    assert_eq!(bucket.requests(), [""; 0], "to open");
    let grant = store.begin_build(new_build("shop", "a", 1))?;
    assert_eq!(
        bucket.requests(),
        [
            "GET components/shop",
            "PUT .dcd/conditional-writes",
            "PUT .dcd/conditional-writes",
            "PUT runs/shop/a",
            "PUT builds/shop/0000000002",
            "PUT components/shop"
        ],
        "to begin"
    );
    let (build, token) = (|| grant.build.clone(), grant.lease.token.as_str());
    store.append(build(), token, 0, events(0..3))?;
    let first = bucket.requests();
    assert!(first[0].starts_with("PUT events/shop/0000000002/0000000000-1-"), "{first:?}");
    assert_eq!(first[1..], ["PUT builds/shop/0000000002"], "to append");
    store.append(build(), token, 3, events(3..5))?;
    assert_eq!(bucket.requests(), first, "to append to the same chunk");
    store.renew_lease(build(), token, 60_000)?;
    assert_eq!(bucket.requests(), ["PUT builds/shop/0000000002"], "to renew");
    store.finish_build(build(), token, 5, Status::Success, 9, "{}".into())?;
    assert_eq!(bucket.requests(), ["PUT builds/shop/0000000002"], "to finish");
    store.get_build(build())?;
    assert_eq!(bucket.requests().len(), 1, "to look up");
    store.read_events(build(), None, 0, 100)?;
    assert_eq!(bucket.requests().len(), 2, "to read a page");
    store.read_events(build(), None, 3, 100)?;
    assert_eq!(bucket.requests().len(), 1, "to read on in the same chunk");
    store.prune_output(build())?;
    assert_eq!(bucket.requests().len(), 6, "to prune a build of one chunk");
    bucket.open()?.begin_build(new_build("other", "a", 1))?;
    assert_eq!(bucket.requests().len(), 8, "to begin the first of a component");
    store.acquire_lock("prod", "1", "anna", 1000)?;
    assert_eq!(bucket.requests().len(), 2, "to lock");
    store.check()?;
    assert_eq!(bucket.requests().len(), 7, "to check");
    Ok(())
}

#[test]
fn a_steps_events_do_not_cost_the_whole_build() -> Tested {
    let bucket = Bucket::default();
    let store = bucket.open()?;
    let grant = store.begin_build(new_build("shop", "a", 1))?;
    for (seq, step) in ["one", "two", "three", "two"].into_iter().enumerate() {
        let event = Event { step: Some(step.into()), ..large(seq as u64, 100_000) };
        store.append(grant.build.clone(), &grant.lease.token, seq as u64, vec![event])?;
    }
    bucket.requests();
    let read = store.read_events(grant.build, Some("two"), 0, 100)?;
    assert_eq!(read.items.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(bucket.requests().len(), 3, "the record, and two chunks of four");
    Ok(())
}

#[test]
fn segments_cost_little_and_save_much() -> Tested {
    let bucket = Bucket::default();
    let mut spent = 0;
    for run in 1..=600 {
        whole(&bucket.open()?, "shop", &run.to_string(), run * 1000)?;
        let requests = bucket.requests();
        if run > 1 {
            spent += requests.len();
        }
    }
    // Each 9, and every 20th the rest.
    assert!(spent <= 599 * 9 + 30 * 30, "{spent}");
    let store = bucket.open()?;
    let newest = store.list_builds(any(), page(20))?;
    assert_eq!(
        newest.items.iter().map(|build| build.id.number).collect::<Vec<_>>(),
        (581..=600).rev().collect::<Vec<_>>()
    );
    // Components, the component, two beyond the newest, and a segment: none is loose just now.
    assert_eq!(bucket.requests().len(), 5);
    assert_eq!(numbers(&store, &any(), 1000)?, (1..=600).rev().collect::<Vec<_>>());
    assert_eq!(bucket.requests().len(), 6);
    Ok(())
}

#[test]
fn components_that_rest_cost_a_list_little() -> Tested {
    let bucket = Bucket::default();
    for component in 0..10 {
        for run in 1..=20 {
            let at = 1000 * (component * 100 + run);
            whole(&bucket.open()?, &format!("c{component}"), &run.to_string(), at)?;
        }
    }
    bucket.requests();
    let list = bucket.open()?.list_builds(any(), page(30))?;
    let newest: Vec<_> =
        list.items.iter().map(|build| (build.id.component.as_str(), build.id.number)).collect();
    assert_eq!((newest[0], newest[19], newest[29]), (("c9", 20), ("c9", 1), ("c8", 11)));
    let requests = bucket.requests();
    let segments = requests.iter().filter(|request| request.contains("segments/")).count();
    assert_eq!((requests.len(), segments), (1 + 10 + 20 + 2, 2), "{requests:?}");
    Ok(())
}
