//! Which grant covers what.

use super::*;
use crate::plugin::{Ask, Kind};

fn all(list: &[&str]) -> Vec<Spanned<String>> {
    list.iter().map(|value| Spanned { value: (*value).to_owned(), span: 0..0 }).collect()
}

fn manifest(asks: &[&str]) -> Manifest {
    Manifest {
        api: "dcd:plugin@0.1.0".into(),
        kind: Kind::StepType,
        name: "p".into(),
        version: "1".into(),
        asks: asks.iter().map(|kind| Ask { kind: (*kind).into(), reason: "why".into() }).collect(),
    }
}

fn of(allow: &Allow, asks: &[&str]) -> Grants {
    Grants::new(&manifest(asks), allow, &crate::pipeline::Limits::default(), Path::new("/w"))
}

fn grants(http: &[&str], asks: &[&str]) -> Grants {
    of(&Allow { http: all(http), ..Allow::default() }, asks)
}

#[test]
fn origins_match_whole() {
    let grants = grants(
        &["https://a.example", "http://b.example:8080", "https://*.c.example", "http://[::1]:80"],
        &["http"],
    );
    let allowed = |uri: &str| grants.http(&uri.parse().unwrap()).is_ok();
    for uri in [
        "https://a.example/x?y",
        "https://A.EXAMPLE:443/",
        "http://b.example:8080/",
        "https://x.c.example",
        "https://x.y.c.example",
        "http://[::1]/",
    ] {
        assert!(allowed(uri), "{uri}");
    }
    for uri in [
        "http://a.example/",
        "https://a.example:8443/",
        "https://xa.example/",
        "https://a.example.evil/",
        "http://b.example/",
        "https://c.example/",
        "https://xc.example/",
        "https://.c.example/",
        "https://a.example@evil.example/",
    ] {
        assert!(!uri.parse::<Uri>().is_ok_and(|uri| grants.http(&uri).is_ok()), "{uri}");
    }
}

#[test]
fn names_do_not_lead_inside() {
    let grants = grants(&["https://a.example", "https://*.c.example", "http://127.0.0.1"], &["http"]);
    let reaches = |uri: &str, address: &str| {
        let reach = grants.http(&uri.parse().unwrap()).unwrap();
        grants.address(reach, address.parse().unwrap()).is_ok()
    };
    assert!(reaches("https://a.example", "93.184.216.34") && reaches("https://a.example", "10.0.0.1"));
    assert!(reaches("https://x.c.example", "93.184.216.34") && !reaches("https://x.c.example", "10.0.0.1"));
    assert!(reaches("http://127.0.0.1", "127.0.0.1"));
    for inner in
        ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "fd00:ec2::254", "0.0.0.0"]
    {
        assert!(!reaches("https://a.example", inner), "{inner}");
    }
}

#[test]
fn what_is_not_asked_for_is_not_granted() {
    let refusal =
        grants(&["https://a.example"], &[]).http(&"https://a.example".parse().unwrap()).unwrap_err();
    assert!(refusal.contains("does not ask for `http`"), "{refusal}");
    let refusal = grants(&[], &["http"]).http(&"https://a.example/x".parse().unwrap()).unwrap_err();
    assert!(
        refusal.ends_with("\"plugins\": {\"p\": {\"allow\": {\"http\": [\"https://a.example\"]}}}"),
        "{refusal}"
    );
}

#[test]
fn embedded_addresses_are_those_that_they_lead_to() {
    let grants = grants(&["https://a.example", "https://*.c.example"], &["http"]);
    let named = grants.http(&"https://a.example".parse().unwrap()).unwrap();
    let wildcard = grants.http(&"https://x.c.example".parse().unwrap()).unwrap();
    let reaches = |reach, address: &str| grants.address(reach, address.parse().unwrap()).is_ok();
    for inner in
        ["64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1", "100.100.100.200", "224.0.0.1", "ff02::1"]
    {
        assert!(!reaches(named, inner), "{inner}");
    }
    for private in ["64:ff9b::a00:1", "2002:c0a8:101::", "fd00::1", "100.64.0.1"] {
        assert!(reaches(named, private) && !reaches(wildcard, private), "{private}");
    }
    for public in ["64:ff9b::808:808", "2606:4700::1111", "1.1.1.1"] {
        assert!(reaches(wildcard, public), "{public}");
    }
}

#[test]
fn connections_are_granted_by_host_and_port() {
    let tcp = all(&["db.example:5432", "*.cache.example:6379", "[::1]:1", "10.0.0.1:2", "localhost:3"]);
    let grants = of(&Allow { tcp, ..Allow::default() }, &["tcp"]);
    for (host, port, reach) in [
        ("db.example", 5432, Some(Reach::Private)),
        ("DB.example", 5432, Some(Reach::Private)),
        ("a.cache.example", 6379, Some(Reach::Public)),
        ("::1", 1, Some(Reach::Named)),
        ("10.0.0.1", 2, Some(Reach::Named)),
        ("localhost", 3, Some(Reach::Named)),
        ("db.example", 5433, None),
        ("db.example.evil", 5432, None),
        ("db.example.", 5432, None),
        ("xdb.example", 5432, None),
        ("cache.example", 6379, None),
        ("xcache.example", 6379, None),
        ("127.0.0.1", 3, None),
        ("", 5432, None),
    ] {
        assert_eq!(grants.tcp(host, port), reach, "{host}:{port}");
    }
    assert!(grants.lookup("db.example").is_ok() && grants.lookup("a.cache.example").is_ok());
    let denial = grants.lookup("evil.example").unwrap_err();
    assert!(denial.ends_with(r#"{"allow": {"tcp": ["evil.example:PORT"]}}}"#), "{denial}");
    assert!(of(&Allow { tcp: all(&["db:1"]), ..Allow::default() }, &[]).tcp("db", 1).is_none());
}

#[test]
fn secrets_and_variables_are_granted_by_name_or_beginning() {
    let allow = Allow { secrets: all(&["TOKEN", "deploy/*"]), ..Allow::default() };
    let grants = of(&allow, &["secrets"]);
    for (name, granted) in [
        ("TOKEN", true),
        ("deploy/key", true),
        ("deploy/", true),
        ("TOKEN2", false),
        ("token", false),
        ("deploy", false),
        ("x/deploy/key", false),
        ("deploy/*x", true),
        ("", false),
    ] {
        assert_eq!(grants.secret(name), granted, "{name}");
    }
    assert!(!of(&allow, &["env"]).secret("TOKEN"), "it did not ask");
}

#[test]
fn nothing_is_left_of_rights_but_their_limits() {
    let memory = Some(Spanned { value: 1 << 20, span: 0..0 });
    let limits = crate::pipeline::Limits { memory, ..crate::pipeline::Limits::default() };
    let allow = Allow { secrets: all(&["TOKEN"]), exec: all(&["sh"]), ..Allow::default() };
    let grants = Grants::new(&manifest(&["secrets", "exec"]), &allow, &limits, Path::new("/w"));
    assert_eq!(grants.describe().len(), 2);
    let none = grants.none();
    assert!(none.describe().is_empty() && !none.secret("TOKEN") && none.programs().is_empty());
    assert_eq!(none.limits(), grants.limits());
    assert_eq!(none.limits().memory, 1 << 20);
}
