//! Which grant covers what.

use super::*;
use crate::{
    pipeline::Spanned,
    plugin::{Ask, Kind},
};

fn grants(http: &[&str], asks: &[&str]) -> Grants {
    let manifest = Manifest {
        api: "dcd:plugin@0.1.0".into(),
        kind: Kind::StepType,
        name: "p".into(),
        version: "1".into(),
        asks: asks.iter().map(|kind| Ask { kind: (*kind).into(), reason: "why".into() }).collect(),
    };
    let http = http.iter().map(|value| Spanned { value: (*value).to_owned(), span: 0..0 }).collect();
    let limits = crate::pipeline::Limits::default();
    Grants::new(&manifest, &Allow { http, ..Allow::default() }, &limits, Path::new("/w"))
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
