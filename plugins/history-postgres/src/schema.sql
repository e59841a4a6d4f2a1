-- The tables of version 1. `SCHEMA` stands for the schema's name. Made for reading with SQL: see
-- docs/plugins/history-postgres.md. Texts are kept as they came, but for U+0000, which PostgreSQL's `text` cannot hold,
-- and U+001A, which stands for it (src/text.rs).

CREATE TABLE SCHEMA.schema_migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL
);

CREATE TABLE SCHEMA.components (
    name text COLLATE "C" PRIMARY KEY,
    last_number bigint NOT NULL
);

CREATE TABLE SCHEMA.builds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    component text COLLATE "C" NOT NULL REFERENCES SCHEMA.components,
    number bigint NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'success', 'failure', 'error', 'timeout', 'cancellation')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    lease_token text NOT NULL,
    fence bigint NOT NULL DEFAULT 1,
    lease_expires_at timestamptz NOT NULL,
    next_seq bigint NOT NULL DEFAULT 0,
    pruned boolean NOT NULL DEFAULT false,
    -- To the byte; what is for SQL is the same as jsonb, null where the text is not JSON.
    metadata_text text NOT NULL,
    metadata jsonb,
    summary_text text,
    summary jsonb,
    -- What dcd shows: by a clock that never jumps, without what came before the first step.
    duration interval GENERATED ALWAYS AS (
        CASE jsonb_typeof(summary -> 'duration_ms')
            WHEN 'number' THEN least(greatest((summary ->> 'duration_ms')::float8, 0), 1e15) * interval '1 millisecond'
            ELSE finished_at - started_at
        END) STORED,
    -- Cut, because an index takes no text of any length.
    branch text COLLATE "C" GENERATED ALWAYS AS (
        CASE jsonb_typeof(metadata -> 'branch') WHEN 'string' THEN left(metadata ->> 'branch', 400) END) STORED,
    commit text COLLATE "C" GENERATED ALWAYS AS (
        CASE jsonb_typeof(metadata -> 'commit') WHEN 'string' THEN left(metadata ->> 'commit', 400) END) STORED,
    user_name text COLLATE "C" GENERATED ALWAYS AS (
        CASE jsonb_typeof(metadata -> 'user') WHEN 'string' THEN left(metadata ->> 'user', 400) END) STORED,
    UNIQUE (component, number),
    UNIQUE (run_id, component)
) WITH (fillfactor = 80); -- each batch of events updates its build's row: leave room for that beside it

CREATE INDEX builds_by_start ON SCHEMA.builds (started_at, id);
CREATE INDEX builds_by_status ON SCHEMA.builds (status, started_at, id);
CREATE INDEX builds_by_component_status ON SCHEMA.builds (component, status, number);
CREATE INDEX builds_by_branch ON SCHEMA.builds (branch, started_at, id);
CREATE INDEX builds_by_component_branch ON SCHEMA.builds (component, branch, number);
CREATE INDEX builds_by_commit ON SCHEMA.builds (commit);
CREATE INDEX builds_by_user ON SCHEMA.builds (user_name, started_at, id);
CREATE INDEX builds_by_metadata ON SCHEMA.builds USING gin (metadata jsonb_path_ops);

CREATE TABLE SCHEMA.events (
    build_id bigint NOT NULL REFERENCES SCHEMA.builds ON DELETE CASCADE,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    kind text COLLATE "C" NOT NULL,
    step text COLLATE "C",
    -- One of the two. To the byte, and so not jsonb.
    json text,
    output bytea,
    hash bytea NOT NULL,
    PRIMARY KEY (build_id, seq),
    CHECK ((json IS NULL) <> (output IS NULL))
);

CREATE INDEX events_by_step ON SCHEMA.events (build_id, left(step, 100), seq) WHERE step IS NOT NULL;

CREATE TABLE SCHEMA.lock_queue (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    ticket text COLLATE "C" NOT NULL,
    owner text NOT NULL,
    since timestamptz NOT NULL,
    held_since timestamptz,
    expires_at timestamptz NOT NULL,
    UNIQUE (name, ticket)
);

-- Who holds and waits for what; an expired place is nobody's.
CREATE VIEW SCHEMA.locks AS
SELECT name, owner, ticket, row_number() OVER (PARTITION BY name ORDER BY place) = 1 AS held, since, expires_at
FROM SCHEMA.lock_queue
WHERE expires_at > now();

-- The steps of builds that are finished.
CREATE VIEW SCHEMA.steps AS
SELECT build.component, build.number, build.branch, build.started_at AS build_started_at, step.place,
    step.value ->> 'name' AS name, step.value ->> 'outcome' AS outcome, step.value ->> 'conclusion' AS conclusion,
    (step.value ->> 'attempts')::numeric::int AS attempts, coalesce((step.value ->> 'flaky')::boolean, false) AS flaky,
    (step.value ->> 'duration_ms')::float8 * interval '1 millisecond' AS duration
FROM SCHEMA.builds AS build
CROSS JOIN LATERAL jsonb_array_elements(
    CASE jsonb_typeof(build.summary -> 'steps') WHEN 'array' THEN build.summary -> 'steps' ELSE '[]' END
) WITH ORDINALITY AS step (value, place);

-- The tests of builds that are finished which failed or could not be run; of each build the first hundred.
CREATE VIEW SCHEMA.failed_tests AS
SELECT build.component, build.number, build.branch, build.started_at AS build_started_at, test.value ->> 'step' AS step,
    test.value ->> 'suite' AS suite, test.value ->> 'name' AS name, test.value ->> 'outcome' AS outcome,
    (test.value ->> 'duration_ms')::float8 * interval '1 millisecond' AS duration
FROM SCHEMA.builds AS build
CROSS JOIN LATERAL jsonb_array_elements(
    CASE jsonb_typeof(build.summary #> '{tests,bad}') WHEN 'array' THEN build.summary #> '{tests,bad}' ELSE '[]' END
) AS test (value);
