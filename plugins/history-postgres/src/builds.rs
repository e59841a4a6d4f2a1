//! Builds: beginning and ending them, leases, and their records.

use dcd_plugin_sdk::history::{Build, BuildId, Grant, Lease, NewBuild, Status, WriteOutcome};
use dcd_plugin_sdk::{Error, log};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::moment::Moment;
use crate::session::Session;
use crate::text;

/// What [`record`] reads.
pub(crate) const RECORD: &str = "component, number, run_id, status, started_at, finished_at, lease_expires_at, \
    clock_timestamp() AS as_of, next_seq, metadata_text, summary_text, pruned";

/// A run that is known gets a new lease. Any other takes the next number: the row of its component is locked until both
/// are written, and when that fails, nothing is.
const BEGIN: &str = "
WITH known AS (
    UPDATE SCHEMA.builds
    SET lease_token = $3, fence = fence + 1, lease_expires_at = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE component = $1 AND run_id = $2
    RETURNING number, fence, lease_expires_at, next_seq
), given AS (
    INSERT INTO SCHEMA.components AS component (name, last_number)
    SELECT $1, 1 WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (name) DO UPDATE SET last_number = component.last_number + 1
    RETURNING last_number
), made AS (
    INSERT INTO SCHEMA.builds (component, number, run_id, started_at, lease_token, lease_expires_at, metadata_text, metadata)
    SELECT $1, last_number, $2, $5, $3, clock_timestamp() + $4 * interval '1 millisecond', $6, $7::jsonb FROM given
    RETURNING number, fence, lease_expires_at, next_seq
)
SELECT * FROM known UNION ALL SELECT * FROM made";

const FINISH: &str = "
WITH build AS MATERIALIZED (
    SELECT id, next_seq, status, lease_token = $3 AS is_held
    FROM SCHEMA.builds WHERE component = $1 AND number = $2 FOR NO KEY UPDATE
), finished AS (
    UPDATE SCHEMA.builds AS stored SET status = $5, finished_at = $6, summary_text = $7, summary = $8::jsonb
    FROM build WHERE stored.id = build.id AND is_held AND build.next_seq = $4 AND build.status = 'running'
)
SELECT is_held, next_seq, status FROM build";

const RENEW: &str = "
WITH renewed AS (
    UPDATE SCHEMA.builds SET lease_expires_at = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE component = $1 AND number = $2 AND lease_token = $3
    RETURNING id, fence, lease_expires_at
)
SELECT renewed.fence, renewed.lease_expires_at
FROM SCHEMA.builds AS build LEFT JOIN renewed ON renewed.id = build.id
WHERE build.component = $1 AND build.number = $2";

/// How often a number is asked for again when the same run was begun at the same time.
const TRIES: u32 = 3;

pub(crate) fn begin(session: &Session, build: &NewBuild) -> Result<Grant, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::other(format!("there are no random numbers: {error}")))?;
    let token = format!("{:032x}", u128::from_be_bytes(bytes));
    let component = text::stored(&build.component);
    let run_id = text::stored(&build.run_id);
    let (metadata, jsonb) = (text::stored(&build.metadata), text::jsonb(&build.metadata));
    let sql = session.sql(BEGIN);
    let (ttl, started_at) = (f64::from(build.lease_ttl_ms), Moment(build.started_at));
    let values: [(&(dyn ToSql + Sync), Type); 7] = [
        (&component, Type::TEXT),
        (&run_id, Type::TEXT),
        (&token, Type::TEXT),
        (&ttl, Type::FLOAT8),
        (&started_at, Type::TIMESTAMPTZ),
        (&metadata, Type::TEXT),
        (&jsonb, Type::TEXT),
    ];
    let row = session.call(async |client| {
        let mut tries = 1;
        loop {
            match client.query_typed(&sql, &values).await {
                // Somebody began the same run just now, so it is known.
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) && tries < TRIES => {
                    tries += 1;
                }
                begun => return begun.map(|rows| rows.into_iter().next()),
            }
        }
    })?;
    let Some(row) = row else { return Err(Error::other("the server gave no number")) };
    let (fence, expires_at): (i64, Moment) = (row.get(1), row.get(2));
    let lease = Lease { token, fence: unsigned(fence), expires_at: expires_at.0 };
    let id = BuildId { component: build.component.clone(), number: unsigned(row.get(0)) };
    Ok(Grant { build: id, lease, next_seq: unsigned(row.get(3)) })
}

pub(crate) fn finish(
    session: &Session,
    build: &BuildId,
    lease: &str,
    final_seq: u64,
    status: Status,
    at: u64,
    summary: &str,
) -> Result<WriteOutcome, Error> {
    let (stored, jsonb) = (text::stored(summary), text::jsonb(summary));
    let rows = session.query(
        FINISH,
        &[
            (&text::stored(&build.component), Type::TEXT),
            (&signed(build.number), Type::INT8),
            (&text::stored(lease), Type::TEXT),
            (&signed(final_seq), Type::INT8),
            (&name(status), Type::TEXT),
            (&Moment(at), Type::TIMESTAMPTZ),
            (&stored, Type::TEXT),
            (&jsonb, Type::TEXT),
        ],
    )?;
    let row = rows.first().ok_or_else(|| unknown(build))?;
    let (is_held, next_seq, was): (bool, i64, String) = (row.get(0), row.get(1), row.get(2));
    if !is_held {
        return Ok(WriteOutcome::Fenced);
    }
    if unsigned(next_seq) != final_seq {
        return Ok(WriteOutcome::Gap(unsigned(next_seq)));
    }
    if was != "running" && was != name(status) {
        return Err(Error::other(format!("build {} is finished, as {was}", build.number)));
    }
    Ok(WriteOutcome::Stored(final_seq))
}

pub(crate) fn renew(
    session: &Session,
    build: &BuildId,
    lease: &str,
    ttl_ms: u32,
) -> Result<Option<Lease>, Error> {
    let rows = session.query(
        RENEW,
        &[
            (&text::stored(&build.component), Type::TEXT),
            (&signed(build.number), Type::INT8),
            (&text::stored(lease), Type::TEXT),
            (&f64::from(ttl_ms), Type::FLOAT8),
        ],
    )?;
    let row = rows.first().ok_or_else(|| unknown(build))?;
    let (fence, expires_at): (Option<i64>, Option<Moment>) = (row.get(0), row.get(1));
    Ok(fence.zip(expires_at).map(|(fence, expires_at)| Lease {
        token: lease.to_owned(),
        fence: unsigned(fence),
        expires_at: expires_at.0,
    }))
}

pub(crate) fn get(session: &Session, build: &BuildId) -> Result<Option<Build>, Error> {
    let sql = format!("SELECT {RECORD} FROM SCHEMA.builds WHERE component = $1 AND number = $2");
    let rows = session
        .query(&sql, &[(&text::stored(&build.component), Type::TEXT), (&signed(build.number), Type::INT8)])?;
    Ok(rows.first().map(record))
}

/// The record in a row of [`RECORD`].
pub(crate) fn record(row: &Row) -> Build {
    let moment = |index: usize| row.get::<_, Moment>(index).0;
    Build {
        id: BuildId { component: text::original(row.get(0)), number: unsigned(row.get(1)) },
        run_id: text::original(row.get(2)),
        status: status(row.get(3)),
        started_at: moment(4),
        finished_at: row.get::<_, Option<Moment>>(5).map(|moment| moment.0),
        lease_expires_at: moment(6),
        as_of: moment(7),
        next_seq: unsigned(row.get(8)),
        metadata: text::original(row.get(9)),
        summary: row.get::<_, Option<String>>(10).map(text::original),
        pruned: row.get(11),
    }
}

pub(crate) fn unknown(build: &BuildId) -> Error {
    Error::not_found(format!("there is no build {} of {}", build.number, build.component))
}

/// Numbers beyond this are none that were ever given or stored.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A status as the table has it.
pub(crate) fn name(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Success => "success",
        Status::Failure => "failure",
        Status::Error => "error",
        Status::Timeout => "timeout",
        Status::Cancellation => "cancellation",
    }
}

fn status(name: &str) -> Status {
    match name {
        "success" => Status::Success,
        "failure" => Status::Failure,
        "error" => Status::Error,
        "timeout" => Status::Timeout,
        "cancellation" => Status::Cancellation,
        "running" => Status::Running,
        other => {
            log::warn("a build has a status that is none", &[("status", other)]);
            Status::Error
        }
    }
}
