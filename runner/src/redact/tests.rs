use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{MASK, Redactor, Stream};
use crate::event::{Body, Payload};

const SECRET: &str = "s3cr3t/tök\"en <1>";

fn masked(secrets: &[&str], text: &str) -> String {
    Redactor::new(secrets).text(text).into_owned()
}

/// What a stream shows of `pieces`.
fn streamed(redactor: &mut Redactor, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = Stream::default();
    let mut shown = Vec::new();
    for piece in pieces {
        shown.extend_from_slice(&stream.push(redactor, Bytes::copy_from_slice(piece)));
    }
    shown.extend_from_slice(&stream.finish(redactor));
    shown
}

#[test]
fn a_secret_is_masked_in_all_its_forms() {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(SECRET).unwrap();
    for (form, shown) in [
        (SECRET, MASK),
        (&hex, MASK),
        (&hex.to_uppercase(), MASK),
        (&json, "\"***\""),
        (&STANDARD.encode(SECRET), MASK),
        (&STANDARD_NO_PAD.encode(SECRET), MASK),
        (&URL_SAFE.encode(SECRET), MASK),
        ("s3cr3t%2Ft%C3%B6k%22en%20%3C1%3E", MASK),
        ("s3cr3t%2ft%c3%b6k%22en%20%3c1%3e", MASK),
        ("s3cr3t%2Ft%C3%B6k%22en+%3C1%3E", MASK),
        ("s3cr3t/t%C3%B6k%22en%20%3C1%3E", MASK),
        ("s3cr3t/t\\u00f6k\\\"en <1>", MASK),
        ("s3cr3t\\/tök\\\"en <1>", MASK),
        ("s3cr3t/tök\\\"en \\u003c1\\u003e", MASK),
    ] {
        assert_eq!(
            masked(&[SECRET], &format!("a {form} b {form}")),
            format!("a {shown} b {shown}"),
            "{form}"
        );
    }
}

#[test]
fn a_secret_within_a_longer_encoded_text_is_masked() {
    for before in ["", "u", "us", "use", "user:"] {
        for after in ["", "\n", "xx", "@host"] {
            for engine in [STANDARD, URL_SAFE] {
                let encoded = engine.encode(format!("{before}{SECRET}{after}"));
                let shown = masked(&[SECRET], &encoded);
                assert!(shown.contains(MASK), "{before} {after}: {shown}");
                // Of what belongs to the secret one character at each end may be left, which is shared.
                let left = shown.replace(MASK, "").replace('=', "").len();
                let around = (before.len() * 8).div_ceil(6) + (after.len() * 8).div_ceil(6) + 1;
                assert!(left <= around, "{before} {after}: {shown}");
            }
        }
    }
    let long = "0123456789abcdef".repeat(20);
    let wrapped: Vec<String> = STANDARD
        .encode(&long)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    assert_eq!(masked(&[&long], &wrapped.join("\n")), vec![MASK; wrapped.len()].join("\n"));
}

#[test]
fn lines_of_a_secret_are_masked_when_they_are_long_enough() {
    let key = "-----BEGIN KEY-----\r\n  abcdef\n}\nok\n-----END KEY-----\n";
    assert_eq!(masked(&[key], "abcdef } ok"), "*** } ok");
    assert_eq!(masked(&[key], &format!("<{key}>")), "<***\n>");
    assert_eq!(masked(&[key], &serde_json::to_string(key).unwrap()), "\"***\\n\"");
    assert_eq!(masked(&["", " \n"], "a \n b"), "a \n b");
    assert_eq!(masked(&["ab"], "cab 6162 YWI="), "c*** 6162 YWI=");
}

#[test]
fn what_overlaps_is_masked_together() {
    assert_eq!(masked(&["abcdef", "defghi"], "abcdefghi abcdefg"), "*** ***g");
    assert_eq!(masked(&["abcd", "abcdefgh"], "abcdefg abcdefgh abcdabcd"), "***efg *** ******");
    assert_eq!(masked(&["aaaa"], "aaaaaaa b"), "*** b");
}

#[test]
fn json_is_masked_with_its_keys_and_numbers() {
    let mut value = json!({
        "a": ["x 12345678", { "k12345678": 12_345_678 }], "b": 912_345_678_u64, "c": null, "k12345678": 1, "k***": 2,
    });
    Redactor::new(["12345678"]).json(&mut value);
    assert_eq!(
        value,
        json!({ "a": ["x ***", { "k***": "***" }], "b": "9***", "c": null, "k***": 2, "k****": 1 })
    );
}

#[test]
fn without_secrets_nothing_is_copied() {
    let mut stream = Stream::default();
    for piece in ["one\n", "two", " ::add-mask::x\n", "\n"] {
        let piece = Bytes::from_static(piece.as_bytes());
        let shown = stream.push(&mut Redactor::default(), piece.clone());
        assert_eq!((shown.as_ptr(), shown.len()), (piece.as_ptr(), piece.len()));
    }
    let mut redactor = Redactor::new(["secret"]);
    let piece = Bytes::from_static(b"nothing here\n");
    assert_eq!(stream.push(&mut redactor, piece.clone()).as_ptr(), piece.as_ptr());
}

#[test]
fn only_what_may_be_the_start_of_a_secret_is_held_back() {
    let mut redactor = Redactor::new(["secret"]);
    let mut stream = Stream::default();
    let mut push = |text: &'static str| stream.push(&mut redactor, Bytes::from_static(text.as_bytes()));
    assert_eq!(push("a progress sec"), "a progress ");
    assert_eq!(push("ond, sec"), "second, ");
    assert_eq!(push("re"), "");
    assert_eq!(push("t!"), "***!");
    assert_eq!(push("s"), "");
    assert_eq!(stream.finish(&mut redactor), "s");
}

#[test]
fn a_step_can_name_a_secret() {
    let mut redactor = Redactor::default();
    let text = b"first\n::add-mask::first\nfirst ::add-mask::no\r\n::add-mask::a%0Abcdef\r\nbcdef\n::add-mask::\n::add";
    let whole = streamed(&mut redactor.clone(), &[text]);
    assert_eq!(
        String::from_utf8_lossy(&whole),
        "first\n::add-mask::***\n*** ::add-mask::no\r\n::add-mask::***\r\n***\n::add-mask::***\n::add"
    );
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(streamed(&mut redactor, &bytes), whole);
    assert_eq!(streamed(&mut redactor, &[b"::add-mask::last"]), b"::add-mask::***");
    assert_eq!(redactor.text("first last"), "*** ***");
}

#[test]
fn a_secret_that_is_added_is_masked_in_streams_that_are_open() {
    let mut redactor = Redactor::new(["abcdef"]);
    let mut stream = Stream::default();
    assert_eq!(stream.push(&mut redactor, Bytes::from_static(b"12 abc")), "12 ");
    redactor.add("bcxyz");
    assert_eq!(stream.push(&mut redactor, Bytes::from_static(b"xyz abcd")), "a*** ");
    assert_eq!(stream.push(&mut redactor, Bytes::from_static(b"ef")), "***");
}

#[test]
fn events_are_masked_wherever_others_words_stand_in_them() {
    let bodies = [
        (
            "lock.waiting",
            json!({ "lock": "a S3CRET", "holder": "S3CRET", "by": "S3CRET", "problem": "S3CRET" }),
        ),
        ("lock.acquired", json!({ "lock": "S3CRET", "waited_ms": 1, "by": "S3CRET", "only_here": "S3CRET" })),
        ("build.cancelling", json!({ "reason": "S3CRET" })),
        ("build.finished", json!({ "outcome": "error", "duration_ms": 1, "reason": "S3CRET" })),
        ("step.log", json!({ "level": "info", "message": "S3CRET", "fields": [["S3CRET", "S3CRET"]] })),
        ("plugin.used", json!({ "plugin": "p", "http": ["https://S3CRET"], "programs": ["/S3CRET"] })),
        ("step.artifacts", json!({ "artifacts": [{ "path": "S3CRET", "size": 1, "sha256": "00" }] })),
        (
            "step.tests",
            json!({ "report": "S3CRET",
                    "cases": [{ "suite": "S3CRET", "name": "S3CRET", "outcome": "failure", "message": "S3CRET" }] }),
        ),
        ("step.shell", json!({ "directory": "/S3CRET" })),
        (
            "attempt.finished",
            json!({ "attempt": 1, "outcome": "error", "duration_ms": 1,
                    "problem": { "message": "S3CRET", "help": "S3CRET" } }),
        ),
        (
            "step.finished",
            json!({ "outcome": "skip", "conclusion": "skip", "attempts": 0, "reason": "S3CRET", "summary": "S3CRET",
                    "outputs": { "S3CRET": { "a": ["S3CRET", "UzNDUkVU"] } } }),
        ),
        ("build.facts", json!({ "dcd_version": "S3CRET", "user": { "absent": "S3CRET" } })),
        ("something.new", json!({ "a": "S3CRET" })),
    ];
    let redactor = Redactor::new(["S3CRET"]);
    for (kind, payload) in bodies {
        let mut body = Body::from_parts(kind, Payload::Json(payload.to_string()));
        assert_eq!(matches!(body, Body::Unknown { .. }), kind == "something.new", "{kind}");
        let expected = payload.to_string().replace("S3CRET", "***").replace("UzNDUkVU", "***");
        super::body(&redactor, &mut body);
        let Payload::Json(shown) = body.payload() else { panic!("{kind}") };
        assert!(
            !shown.contains("S3CRET") && !shown.contains("UzNDUkVU") && shown.contains(MASK),
            "{kind}: {shown}"
        );
        let masked = Body::from_parts(kind, Payload::Json(expected));
        assert_eq!(body, masked, "{kind}");
    }
}

/// Secrets and texts that have much to do with each other.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,6}", "[ab/\"é ]{4,9}", "[ab]{3,5}\n[abc]{3,6}(\r\n)?[ab]{0,5}", "\\PC{1,12}"]
        .prop_filter("the mask itself", |secret| !secret.contains('*') && !secret.trim().is_empty())
}

fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        STANDARD.encode(secret),
        URL_SAFE.encode(format!("a:{secret}b")),
        STANDARD.encode(format!("u{secret}")),
        serde_json::to_string(secret).unwrap(),
    ]
}

prop_compose! {
    fn case()(secrets in proptest::collection::vec(secret(), 1..4))(
        parts in proptest::collection::vec(
            prop_oneof![
                (0..secrets.len(), 0_usize..7, 0_usize..40).prop_map({
                    let secrets = secrets.clone();
                    move |(which, form, cut)| {
                        let form = forms(&secrets[which]).swap_remove(form);
                        form.chars().take(if cut < 8 { cut } else { usize::MAX }).collect()
                    }
                }),
                "[ab:\n ]{0,5}",
                Just("\n::add-mask::".to_owned()),
                Just("\n::add-m".to_owned()),
            ],
            0..12,
        ),
        secrets in Just(secrets),
        cuts in proptest::collection::vec(0_usize..9, 0..60),
    ) -> (Vec<String>, String, Vec<usize>) {
        (secrets, parts.concat(), cuts)
    }
}

/// `text` in pieces of these lengths, and the rest.
fn pieces<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn pieces_are_masked_as_the_whole_is((secrets, text, cuts) in case()) {
        let mut redactor = Redactor::new(&secrets);
        let whole = streamed(&mut redactor.clone(), &[text.as_bytes()]);
        let shown = streamed(&mut redactor, &pieces(text.as_bytes(), &cuts));
        prop_assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&whole));
        if !text.contains("::add-mask::") {
            prop_assert_eq!(&*redactor.bytes(text.as_bytes()), &*shown);
            let shown = String::from_utf8_lossy(&shown);
            for secret in secrets.iter().filter(|secret| secret.trim().len() >= 4) {
                for form in forms(secret.trim()) {
                    prop_assert!(!shown.contains(&form), "{:?} in {:?}", form, shown);
                }
            }
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.trim()));
            }
        }
    }
}
