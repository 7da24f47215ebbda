-- Workers: one row for each boot of each process. Its lease covers every job that it has claimed, so
-- that a thousand long jobs cost one row update each heartbeat.

CREATE TABLE supervisor.workers (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text NOT NULL,                 -- host, pid, start time and a random part: unique for each boot
    host              text NOT NULL,
    pid               integer NOT NULL,
    worker_type       text NOT NULL DEFAULT 'worker',
    status            text NOT NULL DEFAULT 'STARTING'
                      CHECK (status IN ('STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'LOST')),
    version           text NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_expires_at  timestamptz NOT NULL,
    stopped_at        timestamptz,
    -- The earliest deadline among the jobs it runs, as of its last heartbeat.
    oldest_deadline   timestamptz,
    -- The queues on which it sleeps: only these are worth a NOTIFY.
    idle_queues       text[] NOT NULL DEFAULT '{}',
    -- Of workers with the same singleton only one may start or run; null: there may be any number. It is
    -- free again as soon as its holder is stopping.
    singleton         text CHECK (length(singleton) BETWEEN 1 AND 64),
    active_singleton  text GENERATED ALWAYS AS
                      (CASE WHEN status IN ('STARTING', 'RUNNING') THEN singleton END) STORED,
    -- The last change of the switches that it has heard of and obeys.
    confirmed_epoch   bigint NOT NULL DEFAULT 0,
    stopping_at       timestamptz,
    -- As of its last heartbeat: how many jobs it runs. Since its start: how often it beat, and the longest
    -- time in seconds between two heartbeats.
    running           integer NOT NULL DEFAULT 0,
    heartbeats        bigint NOT NULL DEFAULT 0,
    longest_gap_s     real NOT NULL DEFAULT 0,
    metadata          jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 20);

COMMENT ON COLUMN supervisor.workers.stopped_at IS
    'when it ended; of one that is STOPPING: when its lease was found to be over, so that it holds nothing any more';

-- A process whose row was lost registers anew under its name; no two that live have the same.
CREATE UNIQUE INDEX workers_name ON supervisor.workers (name) WHERE status IN ('STARTING', 'RUNNING', 'STOPPING');
CREATE INDEX workers_alive ON supervisor.workers (id) WHERE status IN ('STARTING', 'RUNNING', 'STOPPING');
CREATE UNIQUE INDEX workers_singleton ON supervisor.workers (active_singleton) WHERE active_singleton IS NOT NULL;

-- A worker that is stopping and has been silent for so long is STOPPED, if its lease is over too.
CREATE FUNCTION supervisor.stopping_timeout() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '60 s';
