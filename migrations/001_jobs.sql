-- The life of a job: waiting (cannot run now) -> jobs (may run, or runs) -> history.
--
-- `jobs` is the hot table. Whatever in it is not claimed may be claimed, so a claim never wades
-- through rows that it may not take. No index and no predicate touches a column that a claim
-- changes, and every page keeps room for a second version of its rows: the claim is a HOT update.

CREATE SEQUENCE supervisor.job_ids AS bigint CACHE 1;

-- Bounds, since one job whose times a client cannot read would fail every claim that meets it. They are
-- those of domains, and not of tables: so they are checked where a value comes in, and not again by each
-- update of its row.
CREATE DOMAIN supervisor.job_time AS timestamptz
    CHECK (VALUE >= '1970-01-01 00:00+00' AND VALUE < '3000-01-01 00:00+00');
CREATE DOMAIN supervisor.job_timeout AS real CHECK (VALUE > 0 AND VALUE <= 315360000); -- ten years; NaN is above it

-- The order of the columns is that in which they are read and written fastest: first those of fixed length
-- that are never null, then texts; what a claim changes is together, which keeps its WAL short.
CREATE TABLE supervisor.jobs (
    id            bigint PRIMARY KEY DEFAULT nextval('supervisor.job_ids'),
    run_at        supervisor.job_time NOT NULL DEFAULT clock_timestamp(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    timeout_s     supervisor.job_timeout NOT NULL DEFAULT 300,
    priority      smallint NOT NULL DEFAULT 0,      -- the smaller, the sooner
    losses        smallint NOT NULL DEFAULT 0,      -- its worker died
    attempts      smallint NOT NULL DEFAULT 0,      -- the handler failed
    max_attempts  smallint NOT NULL DEFAULT 3,
    interruptions smallint NOT NULL DEFAULT 0,      -- we stopped it: costs nothing
    changes       boolean NOT NULL DEFAULT true,    -- false: also runs in mode observe_only
    essential     boolean NOT NULL DEFAULT false,   -- true: also runs in mode safe_mode
    queue         text NOT NULL,
    kind          text NOT NULL,
    service       text NOT NULL,
    args          jsonb NOT NULL,
    lock_version  integer NOT NULL DEFAULT 0,       -- the fence: every write after a claim carries it
    claimed_by    bigint,
    claimed_at    timestamptz,
    deadline_at   timestamptz,
    tenant        text,
    unique_key    text,
    trace_parent  text,
    last_error    text,
    traceback     text,
    CONSTRAINT jobs_claim_is_whole CHECK (
        (claimed_by IS NULL) = (deadline_at IS NULL) AND (claimed_by IS NULL) = (claimed_at IS NULL)
    ),
    CONSTRAINT jobs_attempts_end CHECK (attempts < max_attempts)
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Jobs of tenants are found tenant by tenant, so that one with a million of them does not stand before the others,
-- and, while all get their share, in one order, in which they lie together on their pages. So they are in two
-- indexes, which their enqueue pays for with one more entry each; jobs without a tenant are in one. A job that was
-- lost with a worker before is for the quarantine lane alone. `tenant >= ''` says IS NOT NULL in words that only the
-- claim in order uses: no other plan can take that index for jobs_tenants, and walk over all to find one tenant's.
CREATE INDEX jobs_ready ON supervisor.jobs (queue, priority, run_at, id) WHERE losses = 0 AND tenant IS NULL;
CREATE INDEX jobs_tenants ON supervisor.jobs (queue, tenant, priority, run_at, id)
    WHERE losses = 0 AND tenant IS NOT NULL;
CREATE INDEX jobs_in_order ON supervisor.jobs (queue, priority, run_at, id) WHERE losses = 0 AND tenant >= '';
CREATE INDEX jobs_suspects ON supervisor.jobs (queue, losses, priority, run_at, id) WHERE losses > 0;

-- Everything that cannot run now, with the reason. `due_at` is when it may run again; infinity: when
-- something else happens.
CREATE TABLE supervisor.jobs_waiting (
    LIKE supervisor.jobs INCLUDING DEFAULTS INCLUDING CONSTRAINTS, -- or one row could stop every promotion
    reason text NOT NULL CHECK (reason IN ('future', 'retry', 'snoozed', 'paused', 'limited', 'blocked')),
    due_at timestamptz NOT NULL,
    -- Where it stands in line: behind the switch that stopped it (what `blocked_by` says), or behind a gate,
    -- together with the jobs that need the same permits.
    line   text,
    PRIMARY KEY (id),
    CHECK (claimed_by IS NULL),
    CHECK ((line IS NOT NULL) = (reason IN ('paused', 'limited')) AND (line IS NULL OR due_at = 'infinity'))
);

CREATE INDEX jobs_waiting_due ON supervisor.jobs_waiting (due_at, id) WHERE line IS NULL;
CREATE INDEX jobs_waiting_paused ON supervisor.jobs_waiting (line, priority, run_at, id) WHERE reason = 'paused';
CREATE INDEX jobs_waiting_limited ON supervisor.jobs_waiting (queue, line, priority, run_at, id)
    WHERE reason = 'limited';
CREATE INDEX jobs_waiting_suspects ON supervisor.jobs_waiting (queue, losses, line)
    WHERE reason = 'limited' AND losses > 0;

-- What became of it. Partitioned by day: old days are dropped, never deleted row by row. Nothing is
-- checked here: every row comes from a table that did, and a finished job must never be refused.
CREATE TABLE supervisor.job_history (
    job_id        bigint,
    run_at        timestamptz,
    created_at    timestamptz,
    timeout_s     real,
    priority      smallint,
    losses        smallint,
    attempts      smallint,
    max_attempts  smallint,
    interruptions smallint,
    changes       boolean,
    essential     boolean,
    queue         text,
    kind          text,
    service       text,
    args          jsonb,
    lock_version  integer,
    claimed_by    bigint,
    claimed_at    timestamptz,
    deadline_at   timestamptz,
    tenant        text,
    unique_key    text,
    trace_parent  text,
    last_error    text,
    traceback     text,
    status        text,        -- completed, failed, cancelled, quarantined or discarded
    finished_at   timestamptz
) PARTITION BY RANGE (finished_at);

-- A safety net for a day whose partition is missing: a finished job is never refused.
CREATE TABLE supervisor.job_history_rest PARTITION OF supervisor.job_history DEFAULT;

-- Ids grow with time, so a summary of each few pages finds one, and costs a finish nothing.
CREATE INDEX job_history_id ON supervisor.job_history
    USING brin (job_id) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX job_history_ended ON supervisor.job_history (status, finished_at, job_id) WHERE status <> 'completed';
CREATE INDEX job_history_ended_id ON supervisor.job_history (job_id) WHERE status <> 'completed';

-- One live job for each unique key, over both tables; the finish removes the row.
CREATE TABLE supervisor.job_keys (
    unique_key text PRIMARY KEY,
    job_id     bigint NOT NULL,
    touched_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a kind of job is unless the caller says otherwise; each worker writes the kinds that it knows,
-- so that `supervisor.enqueue` can be called by anyone who can reach the database.
CREATE TABLE supervisor.job_kinds (
    kind         text PRIMARY KEY,
    queue        text NOT NULL,
    service      text NOT NULL,
    max_attempts smallint NOT NULL CHECK (max_attempts >= 1),
    timeout_s    real NOT NULL CHECK (timeout_s > 0 AND timeout_s <= 315360000),
    changes      boolean NOT NULL,
    essential    boolean NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
