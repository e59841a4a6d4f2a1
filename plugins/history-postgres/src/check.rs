//! Whether builds can be kept there.

use dcd_plugin_sdk::{Error, Fault};

use crate::schema;
use crate::session::Session;

/// What a build does, undone at once.
const TRY: &str = "
BEGIN;
INSERT INTO SCHEMA.components (name, last_number) VALUES ('dcd doctor', 1)
    ON CONFLICT (name) DO UPDATE SET last_number = components.last_number + 1;
INSERT INTO SCHEMA.builds (component, number, run_id, started_at, lease_token, lease_expires_at, metadata_text, metadata)
    SELECT name, last_number, gen.id, now(), 'none', now(), '{}', '{}'
    FROM SCHEMA.components, (SELECT md5(clock_timestamp()::text || random()::text) AS id) AS gen WHERE name = 'dcd doctor';
INSERT INTO SCHEMA.events (build_id, seq, at, kind, json, hash)
    SELECT id, 0, now(), 'check', '{}', sha256('') FROM SCHEMA.builds WHERE component = 'dcd doctor';
UPDATE SCHEMA.builds SET next_seq = 1 WHERE component = 'dcd doctor';
UPDATE SCHEMA.events SET json = '{}' WHERE build_id IN (SELECT id FROM SCHEMA.builds WHERE component = 'dcd doctor');
INSERT INTO SCHEMA.lock_queue (name, ticket, owner, since, expires_at) VALUES ('dcd doctor', 'dcd doctor', '', now(), now());
DELETE FROM SCHEMA.lock_queue WHERE name = 'dcd doctor';
ROLLBACK";

pub(crate) fn check(session: &Session) -> Result<(), Error> {
    let found = session.call(async |client| schema::version(session, client).await)?;
    if !schema::is_current(session, found)? {
        let schema = &session.target().schema;
        return Err(Error::Other(
            Fault::new(format!("the tables in the schema {schema} are gone"))
                .code("history-postgres/no-tables")
                .help("they are made when a build begins; who took them away?"),
        ));
    }
    let sql = session.sql(TRY);
    session.call(async |client| {
        let tried = client.batch_execute(&sql).await;
        if tried.is_err() {
            // It stopped at the statement that failed, with the transaction open.
            client.batch_execute("ROLLBACK").await?;
        }
        tried
    })
}
