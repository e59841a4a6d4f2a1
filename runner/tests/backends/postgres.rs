//! history-postgres with a real server: straight, encrypted, and through a pooler in transaction mode.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{Backend, server};

/// What `scripts/servers/postgres` says.
fn variable(name: &str) -> String {
    server(name, "postgres")
}

/// The backend at this URL, with the tables in a schema of their own.
fn at(url: &str, schema: &str) -> Backend {
    let authority = variable("DCD_TEST_POSTGRES_CA");
    let address = url.split(['@', '/']).nth(3).unwrap();
    let allow = json!({
        "tcp": [address],
        "secrets": ["PGPASSWORD"],
        "fs": [{ "path": Path::new(&authority).parent().unwrap(), "access": "ro" }],
    });
    let with = json!({ "url": url, "sslrootcert": authority, "schema": schema });
    Backend {
        secrets: json!({ "PGPASSWORD": { "env": "PASSWORD" } }),
        env: vec![("PASSWORD".into(), variable("DCD_TEST_POSTGRES_PASSWORD"))],
        ..Backend::new("history-postgres", with, allow)
    }
}

fn encrypted(schema: &str) -> Backend {
    at(&variable("DCD_TEST_POSTGRES"), schema)
}

/// Runs statements as the team would.
fn sql(statements: &str) -> String {
    let output = Command::new("psql")
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statements, &variable("DCD_TEST_POSTGRES")])
        .env("PGPASSWORD", variable("DCD_TEST_POSTGRES_PASSWORD"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn keeps_the_contract_encrypted() {
    encrypted("encrypted").keeps_the_contract();
}

#[test]
fn keeps_the_contract_plain_through_a_pooler() {
    let mut backend = at(&variable("DCD_TEST_POSTGRES_POOLER"), "pooled");
    backend.with["sslmode"] = json!("disable");
    backend.keeps_the_contract();
}

#[test]
fn is_shared_by_two_machines() {
    sql("DROP SCHEMA IF EXISTS shared CASCADE");
    encrypted("shared").is_shared_by_two_machines("shop");
}

#[test]
fn a_server_may_have_other_ciphers_than_the_quick_one() {
    sql("DROP SCHEMA IF EXISTS ciphers CASCADE");
    at(&variable("DCD_TEST_POSTGRES_POOLER"), "ciphers").is_shared_by_two_machines("shop");
}

/// More than a page has.
#[test]
fn large_summaries_are_listed_on_several_pages() {
    sql("DROP SCHEMA IF EXISTS large CASCADE");
    let backend = encrypted("large");
    let project = backend.project("large", &json!([{ "name": "test", "run": "true" }]));
    project.run(&["run"]).expect(0);
    sql("UPDATE large.components SET last_number = 30; \
         INSERT INTO large.builds (component, number, run_id, status, started_at, finished_at, lease_token, \
         lease_expires_at, metadata_text, metadata, summary_text, summary) \
         SELECT component, n, gen_random_uuid(), status, started_at, finished_at, 'none', started_at, '{}', '{}', \
         '{\"reason\": \"' || repeat('x', 1000000) || '\"}', '{}' FROM large.builds, generate_series(2, 30) AS n");
    for arguments in [&["--component", "large"][..], &[]] {
        let listed = project.run(&[&["history", "list", "--json", "--limit", "1000"], arguments].concat());
        let listed: Vec<Value> = serde_json::from_str(&listed.expect(0).out).unwrap();
        let numbers: BTreeSet<_> = listed.iter().map(|build| build["number"].as_u64().unwrap()).collect();
        assert_eq!((listed.len(), numbers), (30, (1..=30).collect()), "{arguments:?}");
    }
}

/// More than one statement drops.
#[test]
fn a_build_that_printed_much_is_pruned() {
    sql("DROP SCHEMA IF EXISTS much CASCADE");
    let project = encrypted("much").project("much", &json!([{ "name": "test", "run": "echo a" }]));
    project.run(&["run"]).expect(0);
    sql("INSERT INTO much.events (build_id, seq, at, kind, step, output, hash) \
         SELECT id, next_seq + n, now(), 'step.output', 'test', convert_to(repeat('x', 1000000), 'UTF8'), '\\x00' \
         FROM much.builds, generate_series(0, 99) AS n; \
         UPDATE much.builds SET next_seq = next_seq + 100");
    let pruned = project.json(&["history", "prune", "--keep", "0", "--json"]);
    assert_eq!(pruned["backend_bytes"], 100_000_002, "{pruned}");
    let left =
        "SELECT count(*) FILTER (WHERE output IS NOT NULL), bool_and(pruned) FROM much.events, much.builds";
    assert_eq!(sql(left), "0|t");
    let kept = "SELECT json FROM much.events WHERE seq = (SELECT max(seq) FROM much.events)";
    assert!(sql(kept).starts_with("{\"pruned\":{\"bytes\":1000000,\"sha256\":\""), "{}", sql(kept));
}

/// Fails unless no build can be kept, with these words.
#[track_caller]
fn refuses(backend: &Backend, words: &[&str]) {
    let project = backend.project("refused", &json!([{ "name": "test", "run": "true" }]));
    let said = project.run(&["history", "list"]).err;
    // Long lines are wrapped.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in words {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("not the password"), "{said}");
}

#[test]
fn a_wrong_password_is_said_with_where_it_is_looked_for() {
    let mut backend = encrypted("refused");
    backend.env = vec![("PASSWORD".into(), "not the password".into())];
    refuses(&backend, &["password authentication failed for user \"dcd\"", "PGPASSWORD"]);
    backend.allow["secrets"] = json!([]);
    refuses(&backend, &["wants a password, and there is none", "\"secrets\": [\"PGPASSWORD\"]"]);
}

#[test]
fn a_certificate_that_nobody_known_signed_is_refused() {
    let mut backend = encrypted("refused");
    backend.with = json!({ "url": variable("DCD_TEST_POSTGRES"), "sslmode": "verify-full" });
    refuses(&backend, &["not signed by anybody in Mozilla's list", "`sslrootcert`"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let backend = at(&variable("DCD_TEST_POSTGRES").replace("localhost", "127.0.0.1"), "refused");
    refuses(&backend, &["the certificate of 127.0.0.1:", "is for other names", "localhost"]);
}

#[test]
fn a_database_that_is_not_there_is_said_with_how_to_make_it() {
    let backend = at(&format!("{}_not_there", variable("DCD_TEST_POSTGRES")), "refused");
    refuses(&backend, &["database \"dcd_not_there\" does not exist", "CREATE DATABASE \"dcd_not_there\""]);
}

#[test]
fn tables_of_a_later_version_are_left_alone() {
    sql("DROP SCHEMA IF EXISTS later CASCADE; CREATE SCHEMA later; \
         CREATE TABLE later.schema_migrations (version integer); INSERT INTO later.schema_migrations VALUES (99)");
    refuses(&encrypted("later"), &["the tables in the schema later are of version 99", "or a newer one"]);
}

#[test]
fn a_build_outlives_its_connections() {
    sql("DROP SCHEMA IF EXISTS outlives CASCADE");
    let cut = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity \
               WHERE application_name = 'dcd history-postgres' AND pid <> pg_backend_pid()";
    // A session is this build's only if no other test has one, which may be cut as well: all of them go on.
    let psql = format!("psql -XqAtc \"{cut}\" {}", variable("DCD_TEST_POSTGRES"));
    let steps = json!([
        { "name": "first", "run": "echo before; sleep 2" },
        { "name": "cut", "run": psql, "secrets": ["PGPASSWORD"] },
        { "name": "last", "run": "echo after" },
    ]);
    let backend = encrypted("outlives");
    let project = backend.project("outlives", &steps);
    assert_eq!(project.run(&["run"]).expect(0).err, "");
    assert_eq!(project.logs(&["1", "cut"]), b"t\n", "there was a connection");
    fs::remove_dir_all(project.path().join(".dcd")).unwrap();
    assert_eq!(project.logs(&["1", "last"]), b"after\n");
    let steps = "SELECT string_agg(name || '=' || outcome, ' ' ORDER BY place) FROM outlives.steps";
    assert_eq!(sql(steps), "first=success cut=success last=success");
}
