//! The tables: whether they are there, and making them.

use dcd_plugin_sdk::{Error, Fault};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::session::{BEGIN, Session};

/// What leads from one version to the next; the number of them is the version that this plugin knows.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// The first that has all that is used.
const OLDEST_SERVER: i32 = 120_000;

/// Makes the tables what this plugin knows. Any number of runners may do it at the same time.
pub(crate) fn migrate(session: &Session) -> Result<(), Error> {
    let found = session.call(async |client| version(session, client).await)?;
    if is_current(session, found)? {
        return Ok(());
    }
    check_server(session)?;
    session.call(async |client| {
        let done = make(session, client).await;
        if done.is_err() {
            client.batch_execute("ROLLBACK").await?;
        }
        done
    })?;
    let found = session.call(async |client| version(session, client).await)?;
    is_current(session, found).map(drop)
}

/// Whether there is nothing to do.
pub(crate) fn is_current(session: &Session, found: usize) -> Result<bool, Error> {
    let (known, schema) = (MIGRATIONS.len(), &session.target().schema);
    if found > known {
        let message = format!(
            "the tables in the schema {schema} are of version {found}, and this plugin knows up to version {known}"
        );
        return Err(Error::Other(
            Fault::new(message)
                .code("history-postgres/newer-schema")
                .help("take the history-postgres plugin that the others of your team have, or a newer one"),
        ));
    }
    Ok(found == known)
}

/// The version of the tables; 0 when there are none.
pub(crate) async fn version(session: &Session, client: &Client) -> Result<usize, tokio_postgres::Error> {
    let sql = session.sql("SELECT coalesce(max(version), 0) FROM SCHEMA.schema_migrations");
    match client.query_typed(&sql, &[]).await {
        Ok(rows) => {
            let version: i32 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
            Ok(usize::try_from(version).unwrap_or_default())
        }
        Err(error)
            if [Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::INVALID_SCHEMA_NAME)]
                .contains(&error.code()) =>
        {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

fn check_server(session: &Session) -> Result<(), Error> {
    let rows = session
        .query("SELECT current_setting('server_version_num')::int, current_setting('server_version')", &[])?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (number, name): (i32, String) = (row.get(0), row.get(1));
    if number >= OLDEST_SERVER {
        return Ok(());
    }
    Err(Error::other(format!("the server is PostgreSQL {name}, and builds can be kept from version 12 on")))
}

async fn make(session: &Session, client: &Client) -> Result<(), tokio_postgres::Error> {
    let schema = &session.target().schema;
    // A lock of the transaction: of a session it would stay with the pooler.
    client
        .batch_execute(&format!(
            "{BEGIN}; SELECT pg_advisory_xact_lock(hashtextextended('dcd schema {schema}', 0))"
        ))
        .await?;
    let rows = client.query_typed(&format!("SELECT to_regnamespace('{schema}') IS NULL"), &[]).await?;
    // Asked for only when it is not there: it needs a right that one need not have otherwise.
    if rows.first().is_some_and(|row| row.get(0)) {
        client.batch_execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    let table = format!("SELECT to_regclass('{schema}.schema_migrations') IS NOT NULL");
    let is_there = client.query_typed(&table, &[]).await?.first().is_some_and(|row| row.get(0));
    let found = if is_there { version(session, client).await? } else { 0 };
    for (migration, number) in MIGRATIONS.iter().zip(1..).skip(found) {
        client.batch_execute(&session.sql(migration)).await?;
        let by = env!("CARGO_PKG_VERSION");
        let record = format!(
            "INSERT INTO SCHEMA.schema_migrations (version, applied_by) VALUES ({number}, 'history-postgres {by}')"
        );
        client.batch_execute(&session.sql(&record)).await?;
    }
    client.batch_execute("COMMIT").await
}
