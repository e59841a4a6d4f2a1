//! Lists of many components, and of times.

use super::*;

/// Builds of three components in turn, a second apart; every fifth is of another branch.
fn begin(backend: &HistoryDynamodb) {
    for n in 0..30_u64 {
        let component = ["shop", "shop/web", "api"][usize::try_from(n % 3).unwrap()];
        let branch = if n % 5 == 0 { "next" } else { "main" };
        let new = NewBuild {
            component: component.into(),
            started_at: 1_763_000_000_000 + n * 1000,
            metadata: format!(r#"{{"branch":"{branch}","n":"{n}"}}"#),
            ..build(&format!("run {n}"))
        };
        backend.begin_build(new).unwrap();
    }
}

/// Which of them are listed, by their `n`.
fn list(backend: &HistoryDynamodb, filter: &BuildFilter, limit: u32) -> Vec<u64> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = backend.list_builds(filter.clone(), Page { limit, cursor }).unwrap();
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items.iter().map(|build| (build.started_at - 1_763_000_000_000) / 1000));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn lists_have_what_fits_newest_first() {
    for (name, url) in servers() {
        let (backend, _line) = open(&url, &table("lists"));
        begin(&backend);
        let at = |n: u64| Some(1_763_000_000_000 + n * 1000);
        let any = BuildFilter {
            component: None,
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        };
        let web = BuildFilter { component: Some("shop/web".into()), ..any.clone() };
        let next = BuildFilter { metadata: vec![("branch".into(), "next".into())], ..any.clone() };
        let failed = BuildFilter { statuses: vec![Status::Failure], ..any.clone() };
        let down = |range: std::ops::Range<u64>, step: usize| range.rev().step_by(step).collect::<Vec<_>>();
        for (what, filter, expected) in [
            ("all", any.clone(), down(0..30, 1)),
            ("a component", web.clone(), down(0..29, 3)),
            ("after", BuildFilter { started_after: at(20), ..any.clone() }, down(21..30, 1)),
            ("before", BuildFilter { started_before: at(9), ..any.clone() }, down(0..9, 1)),
            (
                "between",
                BuildFilter { started_after: at(9), started_before: at(12), ..any.clone() },
                vec![11, 10],
            ),
            ("nothing", BuildFilter { started_after: at(9), started_before: at(10), ..any.clone() }, vec![]),
            ("before all", BuildFilter { started_before: Some(0), ..any.clone() }, vec![]),
            ("after all", BuildFilter { started_after: Some(u64::MAX), ..any.clone() }, vec![]),
            ("a component's of a time", BuildFilter { started_after: at(10), ..web }, down(11..29, 3)),
            ("a branch", next, down(0..26, 5)),
            ("no such status", failed, vec![]),
        ] {
            for limit in [1, 4, 100] {
                assert_eq!(list(&backend, &filter, limit), expected, "{name}: {what}, in pages of {limit}");
            }
        }
    }
}

#[test]
#[ignore = "needs scripts/servers/dynamodb"]
fn pages_stay_as_they_are_while_builds_begin() {
    for (_, url) in servers() {
        let (backend, _line) = open(&url, &table("pages"));
        begin(&backend);
        let any = BuildFilter {
            component: None,
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        };
        let first = backend.list_builds(any.clone(), Page { limit: 10, cursor: None }).unwrap();
        for n in 30..35 {
            let started_at = 1_763_000_000_000 + n * 1000;
            backend.begin_build(NewBuild { started_at, ..build(&format!("run {n}")) }).unwrap();
        }
        let second = backend.list_builds(any, Page { limit: 100, cursor: first.next }).unwrap();
        let starts = |page: &[dcd_plugin_sdk::history::Build]| {
            page.iter().map(|build| (build.started_at - 1_763_000_000_000) / 1000).collect::<Vec<_>>()
        };
        assert_eq!(starts(&first.items), (20..30).rev().collect::<Vec<_>>());
        assert_eq!(starts(&second.items), (0..20).rev().collect::<Vec<_>>());
        assert_eq!(second.next, None);
    }
}
