//! Named locks: a queue for each name, by the server's clock.
//!
//! Each method is a transaction that has the queue for itself, which is what the advisory lock at its start is for. It is
//! one of the transaction, not of the session.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Lock, LockPlace};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::moment::Moment;
use crate::session::{Session, Statement};
use crate::text;

const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('dcd lock ' || $1, 0))";

/// Who is first of those whose time is not over holds the lock, since those before dropped out.
const PROMOTE: &str = "
UPDATE SCHEMA.lock_queue AS head
SET held_since = greatest(since, (SELECT max(gone.expires_at) FROM SCHEMA.lock_queue AS gone
                                  WHERE gone.name = $1 AND gone.place < head.place))
WHERE name = $1 AND held_since IS NULL
    AND place = (SELECT min(place) FROM SCHEMA.lock_queue WHERE name = $1 AND expires_at > now())";

const DROP_EXPIRED: &str = "DELETE FROM SCHEMA.lock_queue WHERE name = $1 AND expires_at <= now()";

const ENQUEUE: &str = "
INSERT INTO SCHEMA.lock_queue (name, ticket, owner, since, held_since, expires_at)
SELECT $1, $2, $3, now(), CASE WHEN NOT EXISTS (SELECT FROM SCHEMA.lock_queue WHERE name = $1) THEN now() END,
    now() + $4 * interval '1 millisecond'
ON CONFLICT (name, ticket) DO UPDATE SET expires_at = excluded.expires_at";

const PROLONG: &str = "
UPDATE SCHEMA.lock_queue SET expires_at = now() + $3 * interval '1 millisecond'
WHERE name = $1 AND ticket = $2 RETURNING true";

const LEAVE: &str = "DELETE FROM SCHEMA.lock_queue WHERE name = $1 AND ticket = $2 RETURNING true";

const NEXT: &str = "
UPDATE SCHEMA.lock_queue SET held_since = now()
WHERE held_since IS NULL AND place = (SELECT min(place) FROM SCHEMA.lock_queue WHERE name = $1)";

const QUEUE: &str = "
SELECT name, ticket, owner, since, held_since, expires_at, now()
FROM SCHEMA.lock_queue WHERE name = $1 ORDER BY place";

/// Nothing is changed here, so what the next call of a method would write down is told already.
const ALL: &str = "
SELECT name, ticket, owner, since,
    CASE WHEN row_number() OVER (PARTITION BY name ORDER BY place) = 1 THEN
        coalesce(held_since, greatest(since, (SELECT max(gone.expires_at) FROM SCHEMA.lock_queue AS gone
                                              WHERE gone.name = waiting.name AND gone.place < waiting.place)))
    END,
    expires_at, now()
FROM SCHEMA.lock_queue AS waiting WHERE expires_at > now() ORDER BY name, place";

type Value<'a> = (&'a (dyn ToSql + Sync), Type);

impl Session {
    fn statement<'a>(&self, sql: &str, values: &[Value<'a>]) -> Statement<'a> {
        Statement { sql: self.sql(sql), values: values.to_vec() }
    }

    /// What each method begins with.
    fn alone<'a>(&self, name: &Value<'a>) -> Vec<Statement<'a>> {
        [ALONE, PROMOTE, DROP_EXPIRED].map(|sql| self.statement(sql, std::slice::from_ref(name))).into()
    }
}

pub(crate) fn acquire(
    session: &Session,
    name: &str,
    ticket: &str,
    owner: &str,
    ttl_ms: u32,
) -> Result<Lock, Error> {
    let (stored, ticket, owner) = (text::stored(name), text::stored(ticket), text::stored(owner));
    let ttl = f64::from(ttl_ms);
    let name: Value = (&stored, Type::TEXT);
    let mut statements = session.alone(&name);
    statements.push(session.statement(
        ENQUEUE,
        &[name.clone(), (&ticket, Type::TEXT), (&owner, Type::TEXT), (&ttl, Type::FLOAT8)],
    ));
    statements.push(session.statement(QUEUE, &[name]));
    let rows = session.transaction(&statements)?.pop().unwrap_or_default();
    grouped(&rows).pop().ok_or_else(|| Error::other("the server has no queue for the lock"))
}

pub(crate) fn renew(session: &Session, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
    let (stored, ticket, ttl) = (text::stored(name), text::stored(ticket), f64::from(ttl_ms));
    let name: Value = (&stored, Type::TEXT);
    let mut statements = session.alone(&name);
    statements.push(session.statement(PROLONG, &[name.clone(), (&ticket, Type::TEXT), (&ttl, Type::FLOAT8)]));
    statements.push(session.statement(QUEUE, &[name]));
    let mut answers = session.transaction(&statements)?;
    let queue = answers.pop().unwrap_or_default();
    let was_there = answers.pop().is_some_and(|rows| !rows.is_empty());
    Ok(if was_there { grouped(&queue).pop() } else { None })
}

pub(crate) fn release(session: &Session, name: &str, ticket: &str) -> Result<bool, Error> {
    let (stored, ticket) = (text::stored(name), text::stored(ticket));
    let name: Value = (&stored, Type::TEXT);
    let mut statements = session.alone(&name);
    statements.push(session.statement(LEAVE, &[name.clone(), (&ticket, Type::TEXT)]));
    statements.push(session.statement(NEXT, &[name]));
    let answers = session.transaction(&statements)?;
    Ok(answers.iter().rev().nth(1).is_some_and(|rows| !rows.is_empty()))
}

pub(crate) fn list(session: &Session) -> Result<Vec<Lock>, Error> {
    session.query(ALL, &[]).map(|rows| grouped(&rows))
}

/// Rows of the same name, which follow each other, are a lock.
fn grouped(rows: &[Row]) -> Vec<Lock> {
    let mut locks: Vec<Lock> = Vec::new();
    for row in rows {
        let name = text::original(row.get(0));
        let moment = |index: usize| row.get::<_, Moment>(index).0;
        let place = LockPlace {
            ticket: text::original(row.get(1)),
            owner: text::original(row.get(2)),
            since: moment(3),
            held_since: row.get::<_, Option<Moment>>(4).map(|moment| moment.0),
            expires_at: moment(5),
        };
        match locks.last_mut() {
            Some(lock) if lock.name == name => lock.queue.push(place),
            _ => locks.push(Lock { name, queue: vec![place], as_of: moment(6) }),
        }
    }
    locks
}
