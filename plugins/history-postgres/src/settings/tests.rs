use std::collections::BTreeMap;

use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\n";

/// What comes of a configuration, with these variables.
#[allow(clippy::needless_pass_by_value, reason = "so a test's `json!` reads best")]
fn settled(config: serde_json::Value, variables: &[(&str, &str)]) -> Result<Target, Error> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let config = dcd_plugin_sdk::parse(&config.to_string())?;
    Target::new(
        config,
        &Surroundings {
            variable: &|name| variables.get(name).map(ToString::to_string),
            secret: &|name| match name {
                "DB" => Ok("s3cret".to_owned()),
                _ => Err(Error::denied("not granted")),
            },
            file: &|path| match path {
                "/etc/ca.pem" => Ok(PEM.to_owned()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            },
        },
    )
}

#[allow(clippy::needless_pass_by_value, reason = "so a test's `json!` reads best")]
fn wrong(config: serde_json::Value, variables: &[(&str, &str)]) -> String {
    match settled(config, variables) {
        Ok(target) => panic!("settled as {}", target.place()),
        Err(Error::InvalidConfig(all)) => {
            format!("{} {} | {}", all[0].pointer, all[0].message, all[0].help.clone().unwrap_or_default())
        }
        Err(other) => other.to_string(),
    }
}

#[test]
fn a_url_says_it_all() {
    let url = "postgres://ci%20x@db.example:6432/builds?sslmode=verify-ca&sslrootcert=%2Fetc%2Fca.pem";
    let target = settled(serde_json::json!({ "url": url, "password_secret": "DB" }), &[]).unwrap();
    assert_eq!((target.place(), target.user.as_str()), ("db.example:6432".to_owned(), "ci x"));
    assert_eq!((target.database.as_str(), target.schema.as_str()), ("builds", "dcd"));
    assert_eq!((target.sslmode, target.roots.as_deref()), (SslMode::VerifyCa, Some(PEM)));
    assert_eq!(target.password.as_deref(), Some("s3cret"));
}

#[test]
fn what_is_not_configured_comes_from_the_variables_of_psql() {
    let variables = [
        ("PGHOST", "db.example"),
        ("PGPORT", "6432"),
        ("PGUSER", "ci"),
        ("PGDATABASE", ""),
        ("PGPASSWORD", "pw"),
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/etc/ca.pem"),
    ];
    let target = settled(serde_json::json!({}), &variables).unwrap();
    assert_eq!((target.place(), target.user.as_str()), ("db.example:6432".to_owned(), "ci"));
    assert_eq!((target.database.as_str(), target.password.as_deref()), ("ci", Some("pw")));
    assert_eq!((target.sslmode, target.roots.as_deref()), (SslMode::Require, Some(PEM)));
    let config = serde_json::json!({ "host": "::1", "port": 1, "user": "me", "sslmode": "disable" });
    let target = settled(config, &variables).unwrap();
    assert_eq!((target.place(), target.user.as_str()), ("[::1]:1".to_owned(), "me"));
    assert_eq!(target.sslmode, SslMode::Disable);
}

#[test]
fn only_on_this_machine_nothing_is_encrypted_unasked() {
    let mode = |host: &str, roots: Option<&str>| {
        let config = serde_json::json!({ "host": host, "user": "ci", "sslrootcert": roots });
        settled(config, &[]).unwrap().sslmode
    };
    assert_eq!(mode("localhost", None), SslMode::Disable);
    assert_eq!(mode("127.0.0.1", None), SslMode::Disable);
    assert_eq!(mode("::1", None), SslMode::Disable);
    assert_eq!(mode("localhost", Some(PEM)), SslMode::VerifyFull);
    assert_eq!(mode("db", None), SslMode::VerifyFull);
    assert_eq!(mode("10.0.0.1", None), SslMode::VerifyFull);
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let password = wrong(serde_json::json!({ "url": "postgres://ci:hunter2@db/builds" }), &[]);
    assert!(password.starts_with("/url there is a password in the URL"), "{password}");
    assert!(
        password.contains("\"secrets\": [\"PGPASSWORD\"]") && !password.contains("hunter2"),
        "{password}"
    );
    for (config, expected) in [
        (serde_json::json!({}), " it is not said where the server is | add `url` or `host`"),
        (serde_json::json!({ "host": "db" }), "/user it is not said as whom to log in | add `user`"),
        (serde_json::json!({ "url": "mysql://db" }), "/url this is not a URL of PostgreSQL"),
        (serde_json::json!({ "url": "postgres://a@b:x/" }), "/url this URL of PostgreSQL cannot be read"),
        (serde_json::json!({ "url": "postgres://a@b,c/" }), "/url there are several hosts"),
        (serde_json::json!({ "url": "postgres://a@b/?x=1" }), "/url the URL has an option"),
        (
            serde_json::json!({ "url": "postgres://a@b/?sslmode=prefer" }),
            "/url `sslmode` is \"prefer\", with",
        ),
        (serde_json::json!({ "url": "postgres://a@b", "host": "c" }), "/url `url` says where the server is"),
        (
            serde_json::json!({ "host": "/run/postgresql", "user": "a" }),
            "/host a plugin cannot connect to a Unix",
        ),
        (serde_json::json!({ "host": "b", "user": "a", "schema": "x\"y" }), "/schema "),
        (serde_json::json!({ "host": "b", "user": "a", "schema": "pg_x" }), "/schema "),
        (
            serde_json::json!({ "host": "b", "user": "a", "connect_timeout": 0 }),
            "/connect_timeout it cannot be 0",
        ),
        (
            serde_json::json!({ "host": "b", "user": "a", "sslrootcert": "ca.pem" }),
            "/sslrootcert \"ca.pem\" is neither",
        ),
        (
            serde_json::json!({ "host": "b", "user": "a", "sslrootcert": "/x/y" }),
            "/sslrootcert /x/y does not exist",
        ),
        (serde_json::json!({ "host": "b", "user": "a", "password_secret": "NO" }), "not granted"),
    ] {
        let text = wrong(config, &[]);
        assert!(text.starts_with(expected), "{text}");
    }
    let port = wrong(serde_json::json!({ "host": "b", "user": "a" }), &[("PGPORT", "x")]);
    assert!(port.starts_with(" PGPORT is \"x\""), "{port}");
    let mode = wrong(serde_json::json!({ "host": "b", "user": "a" }), &[("PGSSLMODE", "prefer")]);
    assert!(mode.starts_with(" PGSSLMODE is \"prefer\", with which anybody"), "{mode}");
}
