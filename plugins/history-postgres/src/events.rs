//! A build's events.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildId, Event, EventPage, Payload, WriteOutcome};
use tokio_postgres::types::Type;

use crate::builds::{signed, unknown, unsigned};
use crate::moment::Moment;
use crate::session::Session;
use crate::text;

/// About the most that one page carries, so that a page of large events fits into a call.
const PAGE_BYTES: i64 = 4 << 20;

/// The row of the build is locked first, so what is known of it is known until the events are stored.
const APPEND: &str = "
WITH build AS MATERIALIZED (
    SELECT id, next_seq, lease_token = $3 AS is_held, status = 'running' AS is_running
    FROM SCHEMA.builds WHERE component = $1 AND number = $2 FOR NO KEY UPDATE
), stored AS (
    INSERT INTO SCHEMA.events (build_id, seq, at, kind, step, json, output, hash)
    SELECT build.id, $4 + event.place - 1, event.at, event.kind, event.step, event.json, event.output, event.hash
    FROM build
    CROSS JOIN unnest($5, $6, $7, $8, $9, $10) WITH ORDINALITY AS event (at, kind, step, json, output, hash, place)
    WHERE is_held AND is_running AND $4 <= next_seq AND $4 + event.place - 1 >= next_seq
), counted AS (
    UPDATE SCHEMA.builds AS known SET next_seq = $4 + $11, pruned = false
    FROM build
    WHERE known.id = build.id AND is_held AND is_running AND $4 <= build.next_seq AND $4 + $11 > build.next_seq
)
SELECT is_held, is_running, next_seq FROM build";

/// One row more than is asked for says whether there are more. `$STEP` stands for a condition.
const READ: &str = "
WITH build AS (
    SELECT id, next_seq, status <> 'running' AS is_finished
    FROM SCHEMA.builds WHERE component = $1 AND number = $2
), found AS (
    SELECT event.* FROM build JOIN SCHEMA.events AS event ON event.build_id = build.id
    WHERE event.seq >= $3 $STEP
    ORDER BY event.seq LIMIT $4 + 1
), page AS (
    SELECT found.*, row_number() OVER up_to AS place,
        sum(coalesce(octet_length(json), 0) + coalesce(octet_length(output), 0)) OVER up_to
            - coalesce(octet_length(json), 0) - coalesce(octet_length(output), 0) AS before
    FROM found WINDOW up_to AS (ORDER BY seq)
)
SELECT build.next_seq, build.is_finished, (SELECT max(seq) FROM found), page.seq, page.at, page.kind, page.step, page.json,
    page.output, page.hash
FROM build LEFT JOIN page ON page.place <= $4 AND page.before < $5
ORDER BY page.seq";

/// How much is dropped by one statement, so that each is soon done however much a build has printed.
const DROPPED_BYTES: i64 = 64 << 20;
const DROPPED_EVENTS: i64 = 10_000;
/// After how long a call begins no further one. The runner allows a call 30 s, the session a statement 22 s.
const PRUNING: Duration = Duration::from_secs(6);

/// The build is pruned once there is nothing more to drop.
const PRUNE: &str = r#"
WITH build AS MATERIALIZED (
    SELECT id, status = 'running' AND lease_expires_at >= clock_timestamp() AS is_busy
    FROM SCHEMA.builds WHERE component = $1 AND number = $2 FOR NO KEY UPDATE
), first AS (
    SELECT event.build_id, event.seq, octet_length(event.output) AS bytes
    FROM build JOIN SCHEMA.events AS event ON event.build_id = build.id
    WHERE NOT is_busy AND event.kind = 'step.output' AND event.output IS NOT NULL
    ORDER BY event.seq LIMIT $4
), counted AS (
    SELECT *, sum(bytes) OVER (ORDER BY seq) - bytes AS before FROM first
), printed AS (
    SELECT counted.build_id, counted.seq, counted.bytes, encode(sha256(event.output), 'hex') AS sha256
    FROM counted JOIN SCHEMA.events AS event ON event.build_id = counted.build_id AND event.seq = counted.seq
    WHERE counted.before < $3
), dropped AS (
    UPDATE SCHEMA.events AS event
    SET output = NULL, json = format('{"pruned":{"bytes":%s,"sha256":"%s"}}', printed.bytes, printed.sha256)
    FROM printed WHERE event.build_id = printed.build_id AND event.seq = printed.seq
    RETURNING printed.bytes
), marked AS (
    UPDATE SCHEMA.builds AS known SET pruned = true FROM build
    WHERE known.id = build.id AND NOT is_busy AND NOT known.pruned AND NOT EXISTS (SELECT FROM printed)
)
SELECT is_busy, (SELECT coalesce(sum(bytes), 0)::bigint FROM dropped), EXISTS (SELECT FROM printed) FROM build"#;

pub(crate) fn append(
    session: &Session,
    build: &BuildId,
    lease: &str,
    first_seq: u64,
    events: &[Event],
) -> Result<WriteOutcome, Error> {
    if let Some((event, seq)) = events.iter().zip(first_seq..).find(|(event, seq)| event.seq != *seq) {
        let message = format!("an event has the sequence number {} in the place of {seq}", event.seq);
        return Err(Error::other(message));
    }
    let at: Vec<_> = events.iter().map(|event| Moment(event.at)).collect();
    let kind: Vec<_> = events.iter().map(|event| text::stored(&event.kind)).collect();
    let step: Vec<_> = events.iter().map(|event| event.step.as_deref().map(text::stored)).collect();
    let json: Vec<Option<Cow<'_, str>>> = events.iter().map(|event| json(&event.payload)).collect();
    let output: Vec<_> = events.iter().map(|event| output(&event.payload)).collect();
    let hash: Vec<_> = events.iter().map(|event| event.hash.as_slice()).collect();
    let count = events.len() as u64;
    let rows = session.query(
        APPEND,
        &[
            (&text::stored(&build.component), Type::TEXT),
            (&signed(build.number), Type::INT8),
            (&text::stored(lease), Type::TEXT),
            (&signed(first_seq), Type::INT8),
            (&at, Type::TIMESTAMPTZ_ARRAY),
            (&kind, Type::TEXT_ARRAY),
            (&step, Type::TEXT_ARRAY),
            (&json, Type::TEXT_ARRAY),
            (&output, Type::BYTEA_ARRAY),
            (&hash, Type::BYTEA_ARRAY),
            (&signed(count), Type::INT8),
        ],
    )?;
    let row = rows.first().ok_or_else(|| unknown(build))?;
    let (is_held, is_running, next_seq): (bool, bool, i64) = (row.get(0), row.get(1), row.get(2));
    let tail = unsigned(next_seq);
    if !is_held {
        Ok(WriteOutcome::Fenced)
    } else if first_seq > tail {
        Ok(WriteOutcome::Gap(tail))
    } else if first_seq + count <= tail {
        Ok(WriteOutcome::Stored(tail))
    } else if is_running {
        Ok(WriteOutcome::Stored(first_seq + count))
    } else {
        Err(Error::other(format!("build {} is finished and takes no more events", build.number)))
    }
}

fn json(payload: &Payload) -> Option<Cow<'_, str>> {
    match payload {
        Payload::Json(json) => Some(text::stored(json)),
        Payload::Bytes(_) => None,
    }
}

fn output(payload: &Payload) -> Option<&[u8]> {
    match payload {
        Payload::Json(_) => None,
        Payload::Bytes(bytes) => Some(bytes),
    }
}

pub(crate) fn read(
    session: &Session,
    build: &BuildId,
    step: Option<&str>,
    from_seq: u64,
    limit: u32,
) -> Result<EventPage, Error> {
    let component = text::stored(&build.component);
    let step = step.map(text::stored);
    let (number, from, limit) = (signed(build.number), signed(from_seq), i64::from(limit.max(1)));
    let mut values: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> = vec![
        (&component, Type::TEXT),
        (&number, Type::INT8),
        (&from, Type::INT8),
        (&limit, Type::INT8),
        (&PAGE_BYTES, Type::INT8),
    ];
    // As the index has it, which takes no text of any length.
    let condition =
        if step.is_some() { "AND left(event.step, 100) = left($6, 100) AND event.step = $6" } else { "" };
    if let Some(step) = &step {
        values.push((step, Type::TEXT));
    }
    let rows = session.query(&READ.replace("$STEP", condition), &values)?;
    let first = rows.first().ok_or_else(|| unknown(build))?;
    let (tail, is_finished, furthest): (i64, bool, Option<i64>) = (first.get(0), first.get(1), first.get(2));
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(seq) = row.get::<_, Option<i64>>(3) else { break };
        let payload = match (row.get::<_, Option<String>>(7), row.get::<_, Option<Vec<u8>>>(8)) {
            (Some(json), _) => Payload::Json(text::original(json)),
            (None, bytes) => Payload::Bytes(bytes.unwrap_or_default()),
        };
        items.push(Event {
            seq: unsigned(seq),
            at: row.get::<_, Moment>(4).0,
            kind: text::original(row.get(5)),
            step: row.get::<_, Option<String>>(6).map(text::original),
            payload,
            hash: row.get(9),
        });
    }
    let read = items.last().map(|event: &Event| event.seq + 1);
    let next_seq = match (read, furthest) {
        (Some(read), Some(furthest)) if read <= unsigned(furthest) => Some(read),
        _ if is_finished => None,
        _ => Some(from_seq.max(unsigned(tail))),
    };
    Ok(EventPage { items, next_seq })
}

pub(crate) fn prune(session: &Session, build: &BuildId) -> Result<u64, Error> {
    let (component, number) = (text::stored(&build.component), signed(build.number));
    let began = Instant::now();
    let mut dropped = 0;
    loop {
        let rows = session.query(
            PRUNE,
            &[
                (&component, Type::TEXT),
                (&number, Type::INT8),
                (&DROPPED_BYTES, Type::INT8),
                (&DROPPED_EVENTS, Type::INT8),
            ],
        )?;
        let row = rows.first().ok_or_else(|| unknown(build))?;
        let (is_busy, bytes, may_have_more): (bool, i64, bool) = (row.get(0), row.get(1), row.get(2));
        if is_busy {
            let message = format!("build {} of {} is running", build.number, build.component);
            return Err(Error::other(message).help("prune it when it has ended"));
        }
        dropped += unsigned(bytes);
        if !may_have_more {
            return Ok(dropped);
        }
        if began.elapsed() >= PRUNING {
            let message = format!(
                "{dropped} bytes of what build {} of {} printed are dropped, and there are more",
                build.number, build.component
            );
            return Err(Error::unavailable(message).help("prune again: it goes on from there"));
        }
    }
}
