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
    metadata          jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 20);

-- A process whose row was lost registers anew under its name; no two that live have the same.
CREATE UNIQUE INDEX workers_name ON supervisor.workers (name) WHERE status IN ('STARTING', 'RUNNING', 'STOPPING');
CREATE INDEX workers_alive ON supervisor.workers (id) WHERE status IN ('STARTING', 'RUNNING', 'STOPPING');
