-- Figures: what was measured of queues, kinds, days and the fleet, and when.
--
-- Whoever shows numbers reads them here, so that nothing gets slower with more jobs. One host at a time
-- measures one part, every host may try; what is dear is measured more seldom, so that no part takes more
-- than a fiftieth of the time. Days are those of UTC.

CREATE TABLE supervisor.surveys (
    part        text PRIMARY KEY,
    measured_at timestamptz NOT NULL DEFAULT '-infinity',
    took_s      double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO supervisor.surveys (part) VALUES ('queues'), ('kinds'), ('fleet'), ('limits'), ('days');

-- `sampled`: the part of the jobs that was read; 1: they were counted. `depth`: what waits to run now, or as
-- soon as a switch or a limit lets it.
CREATE TABLE supervisor.queue_figures (
    queue          text PRIMARY KEY,
    ready          bigint NOT NULL,
    running        bigint NOT NULL,
    delayed        bigint NOT NULL,
    retrying       bigint NOT NULL,
    paused         bigint NOT NULL,
    limited        bigint NOT NULL,
    blocked        bigint NOT NULL,
    suspects       bigint NOT NULL,
    depth          bigint GENERATED ALWAYS AS (ready + suspects + paused + limited) STORED,
    oldest_ready_s double precision,
    completed_1h   bigint NOT NULL,
    failed_1h      bigint NOT NULL,
    sampled        real NOT NULL,
    measured_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Of what was completed within a day; `runs` is from how many these were told.
CREATE TABLE supervisor.kind_figures (
    kind        text PRIMARY KEY,
    p50_s       double precision,
    p95_s       double precision,
    runs        bigint NOT NULL,
    failed_24h  bigint NOT NULL,
    measured_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- `final`: the day was over when it was measured.
CREATE TABLE supervisor.day_figures (
    day         date PRIMARY KEY,
    completed   bigint NOT NULL,
    failed      bigint NOT NULL,
    quarantined bigint NOT NULL,
    cancelled   bigint NOT NULL,
    discarded   bigint NOT NULL,
    p50_s       double precision,
    p95_s       double precision,
    sampled     real NOT NULL,
    final       boolean NOT NULL,
    measured_at timestamptz NOT NULL
);

-- Why jobs failed on a day: the name of the error, never its text, which may say what must not be shown.
CREATE TABLE supervisor.failure_figures (
    day      date NOT NULL,
    kind     text NOT NULL,
    reason   text NOT NULL,
    count    bigint NOT NULL,
    last_job bigint NOT NULL,
    PRIMARY KEY (day, kind, reason)
);

-- Migrations that failed, so far as the database could be told.
CREATE TABLE supervisor.migration_failures (
    version   integer NOT NULL,
    name      text NOT NULL,
    problem   text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Numbers of the whole: as ('workers', 'RUNNING', 3), ('kill_switch_activations', '', 2).
CREATE TABLE supervisor.fleet_figures (
    name        text NOT NULL,
    label       text NOT NULL,
    value       double precision NOT NULL,
    measured_at timestamptz NOT NULL,
    PRIMARY KEY (name, label)
) WITH (fillfactor = 50);

-- The audit log, counted as far as `last_id`; and for how long the kill switch was on until it was last put off.
CREATE TABLE supervisor.audit_figures (
    action_type text PRIMARY KEY,
    accepted    bigint NOT NULL,
    refused     bigint NOT NULL
);
CREATE TABLE supervisor.audit_counted (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_id      bigint NOT NULL DEFAULT 0,
    killed_since timestamptz,
    killed_s     double precision NOT NULL DEFAULT 0
);
INSERT INTO supervisor.audit_counted DEFAULT VALUES;

-- How a table is read: whole where that takes no more than some 0.3 s, by its index where few rows lie in many
-- pages, else a part of its pages, chosen evenly.
CREATE FUNCTION supervisor.reading_of(relation regclass, most_pages bigint, OUT clause text, OUT share real)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    few_rows bigint := 3 * most_pages;
    pages    bigint := pg_relation_size(relation) / current_setting('block_size')::bigint;
BEGIN
    share := 1;
    clause := '';
    IF pages <= most_pages THEN
        RETURN;
    ELSIF pg_stat_get_live_tuples(relation) < few_rows THEN
        clause := 'WHERE job.id > 0'; -- with the sequential scan off, by the primary key
    ELSE
        share := most_pages::real / pages;
        clause := format('TABLESAMPLE SYSTEM (%s)', 100 * share);
    END IF;
END
$$;

-- What a row of `jobs` is doing.
CREATE FUNCTION supervisor.state_of(claimed_by bigint, losses smallint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN claimed_by IS NOT NULL THEN 'running' WHEN losses > 0 THEN 'suspect' ELSE 'ready' END;

-- The live jobs of each queue by what they do, in both tables; `oldest` is the first time at which one might run. Of
-- a table with more than so many pages a part is read, and the queues that have few jobs there are counted one by one.
CREATE FUNCTION supervisor.count_live(most_pages bigint DEFAULT 20000) -- 300,000 jobs
RETURNS TABLE (queue text, state text, jobs bigint, oldest timestamptz, sampled real) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    few_jobs CONSTANT bigint := 10000;
    reading record;
BEGIN
    reading := supervisor.reading_of('supervisor.jobs', most_pages);
    RETURN QUERY EXECUTE format($sql$
        WITH part AS MATERIALIZED (
            SELECT found.queue, found.state, round(count(*) / $1)::bigint AS jobs, min(found.run_at) AS oldest
            FROM (
                SELECT job.queue, job.run_at::timestamptz AS run_at,
                       supervisor.state_of(job.claimed_by, job.losses) AS state
                FROM supervisor.jobs AS job %s
            ) AS found
            GROUP BY found.queue, found.state
        ), small AS MATERIALIZED (
            SELECT named.queue FROM (
                SELECT part.queue FROM part UNION SELECT known.queue FROM supervisor.job_kinds AS known
                UNION SELECT known.queue FROM supervisor.queue_figures AS known
                UNION SELECT known.queue FROM supervisor.queue_settings AS known
            ) AS named
            WHERE $1 < 1 AND coalesce(
                (SELECT sum(part.jobs) FROM part WHERE part.queue = named.queue), 0) < $2
        )
        SELECT part.queue, part.state, part.jobs, part.oldest, $1 FROM part
        WHERE part.queue NOT IN (SELECT small.queue FROM small)
        UNION ALL
        SELECT small.queue, counted.state, count(*), min(counted.run_at), 1
        FROM small CROSS JOIN LATERAL (
            SELECT supervisor.state_of(job.claimed_by, job.losses) AS state, job.run_at::timestamptz AS run_at
            FROM supervisor.jobs AS job WHERE job.queue = small.queue AND job.losses = 0 AND job.tenant IS NULL
            UNION ALL
            SELECT supervisor.state_of(job.claimed_by, job.losses), job.run_at::timestamptz
            FROM supervisor.jobs AS job WHERE job.queue = small.queue AND job.losses = 0 AND job.tenant IS NOT NULL
            UNION ALL
            SELECT supervisor.state_of(job.claimed_by, job.losses), job.run_at::timestamptz
            FROM supervisor.jobs AS job WHERE job.queue = small.queue AND job.losses > 0
        ) AS counted
        GROUP BY small.queue, counted.state$sql$, reading.clause) USING reading.share, few_jobs;
    reading := supervisor.reading_of('supervisor.jobs_waiting', most_pages);
    RETURN QUERY EXECUTE format($sql$
        SELECT job.queue, CASE WHEN job.reason IN ('future', 'snoozed') THEN 'delayed' ELSE job.reason END,
               round(count(*) / $1)::bigint, NULL::timestamptz, $1
        FROM supervisor.jobs_waiting AS job %s
        GROUP BY 1, 2$sql$, reading.clause) USING reading.share;
END
$$;

CREATE FUNCTION supervisor.survey_queues() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    WITH live AS MATERIALIZED (
        SELECT * FROM supervisor.count_live()
    ), counted AS (
        SELECT live.queue,
               sum(live.jobs) FILTER (WHERE live.state = 'ready') AS ready,
               sum(live.jobs) FILTER (WHERE live.state = 'running') AS running,
               sum(live.jobs) FILTER (WHERE live.state = 'delayed') AS delayed,
               sum(live.jobs) FILTER (WHERE live.state = 'retry') AS retrying,
               sum(live.jobs) FILTER (WHERE live.state = 'paused') AS paused,
               sum(live.jobs) FILTER (WHERE live.state = 'limited') AS limited,
               sum(live.jobs) FILTER (WHERE live.state = 'blocked') AS blocked,
               sum(live.jobs) FILTER (WHERE live.state = 'suspect') AS suspects,
               min(live.oldest) FILTER (WHERE live.state = 'ready') AS oldest
        FROM live GROUP BY live.queue
    ), ended AS (
        SELECT past.queue, sum(past.completed)::bigint AS completed, sum(past.failed)::bigint AS failed
        FROM supervisor.ended_since(statement_timestamp() - interval '1 h') AS past GROUP BY past.queue
    ), named AS (
        SELECT counted.queue FROM counted UNION SELECT ended.queue FROM ended
        UNION SELECT known.queue FROM supervisor.job_kinds AS known
        UNION SELECT settings.queue FROM supervisor.queue_settings AS settings
    )
    INSERT INTO supervisor.queue_figures AS old (
        queue, ready, running, delayed, retrying, paused, limited, blocked, suspects, oldest_ready_s, completed_1h,
        failed_1h, sampled, measured_at
    )
    SELECT named.queue, coalesce(counted.ready, 0), coalesce(counted.running, 0), coalesce(counted.delayed, 0),
           coalesce(counted.retrying, 0), coalesce(counted.paused, 0), coalesce(counted.limited, 0),
           coalesce(counted.blocked, 0), coalesce(counted.suspects, 0),
           CASE WHEN counted.oldest IS NOT NULL
                THEN greatest(extract(epoch FROM began - counted.oldest), 0)::double precision END,
           coalesce(ended.completed, 0), coalesce(ended.failed, 0),
           coalesce((SELECT min(live.sampled) FROM live WHERE live.queue = named.queue), 1), began
    FROM named LEFT JOIN counted USING (queue) LEFT JOIN ended USING (queue)
    ON CONFLICT (queue) DO UPDATE SET
        ready = excluded.ready, running = excluded.running, delayed = excluded.delayed, retrying = excluded.retrying,
        paused = excluded.paused, limited = excluded.limited, blocked = excluded.blocked, suspects = excluded.suspects,
        oldest_ready_s = excluded.oldest_ready_s, completed_1h = excluded.completed_1h,
        failed_1h = excluded.failed_1h, sampled = excluded.sampled, measured_at = excluded.measured_at;
    DELETE FROM supervisor.queue_figures AS old WHERE old.measured_at < began;
    PERFORM supervisor.forget_slow();
END
$$;

-- What to show of queues: as of the last measurement, with its age in seconds, and what is set for them.
CREATE VIEW supervisor.queue_health AS
    SELECT known.queue, known.ready, known.running, known.delayed, known.retrying, known.paused, known.limited,
           known.blocked, known.suspects, known.depth, settings.max_depth, settings.escalate_after_s,
           known.oldest_ready_s, known.completed_1h, known.failed_1h, known.sampled::double precision AS sampled,
           greatest(extract(epoch FROM clock_timestamp() - known.measured_at), 0)::double precision AS age_s
    FROM supervisor.queue_figures AS known LEFT JOIN supervisor.queue_settings AS settings USING (queue);

-- Some of what ended from one time to another, in each day's table at most so many pages of it; `share` is the
-- part of that table which was read.
CREATE FUNCTION supervisor.sample_history(from_time timestamptz, to_time timestamptz, most_pages bigint)
RETURNS TABLE (kind text, status text, seconds double precision, share real) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET enable_seqscan = on
AS $$
#variable_conflict use_column
DECLARE
    day  regclass;
    part real;
BEGIN
    FOR day IN
        SELECT child.oid::regclass FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass
          AND (child.relname !~ '^job_history_[0-9]{8}$'
               OR to_date(right(child.relname, 8), 'YYYYMMDD') BETWEEN from_time::date AND to_time::date)
    LOOP
        part := least(1, most_pages::real / greatest(
            pg_relation_size(day) / current_setting('block_size')::bigint, 1));
        RETURN QUERY EXECUTE format($sql$
            SELECT past.kind, past.status,
                   extract(epoch FROM past.finished_at - past.claimed_at)::double precision, $1
            FROM %s AS past TABLESAMPLE SYSTEM (100 * $1)
            WHERE past.finished_at >= $2 AND past.finished_at < $3$sql$, day)
        USING part, from_time, to_time;
    END LOOP;
END
$$;

CREATE FUNCTION supervisor.survey_kinds() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_pages  CONSTANT bigint := 500;
    most_failed CONSTANT integer := 50000;
    began timestamptz := clock_timestamp();
    since timestamptz := began - interval '1 day';
BEGIN
    WITH run AS (
        SELECT past.kind, count(*) AS runs,
               percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY greatest(past.seconds, 0)) AS quantiles
        FROM supervisor.sample_history(since, began, most_pages) AS past
        WHERE past.status = 'completed' AND past.seconds IS NOT NULL GROUP BY past.kind
    ), failed AS (
        SELECT past.kind, count(*) AS failed FROM (
            SELECT ended.kind FROM supervisor.job_history AS ended
            WHERE ended.status = 'failed' AND ended.finished_at >= since LIMIT most_failed
        ) AS past GROUP BY past.kind
    )
    INSERT INTO supervisor.kind_figures AS old (kind, p50_s, p95_s, runs, failed_24h, measured_at)
    SELECT kind, run.quantiles[1], run.quantiles[2], coalesce(run.runs, 0), coalesce(failed.failed, 0), began
    FROM run FULL JOIN failed USING (kind)
    ON CONFLICT (kind) DO UPDATE SET
        p50_s = coalesce(excluded.p50_s, old.p50_s), p95_s = coalesce(excluded.p95_s, old.p95_s),
        runs = excluded.runs, failed_24h = excluded.failed_24h, measured_at = excluded.measured_at;
    -- A seldom kind may not be in the sample: what was known of it stays for a day.
    DELETE FROM supervisor.kind_figures AS old WHERE old.measured_at < since;
END
$$;

-- One day: those that did not complete are counted by their index, up to a number; beyond that, and for those
-- that did complete, a sample tells.
CREATE FUNCTION supervisor.survey_day(the_day date) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    most_pages  CONSTANT bigint := 1000;
    most_ended  CONSTANT integer := 20000;
    most_causes CONSTANT integer := 5000;
    began  timestamptz := clock_timestamp();
    begins timestamptz := the_day::timestamptz;
    ends   timestamptz := (the_day + 1)::timestamptz;
BEGIN
    WITH sample AS MATERIALIZED (
        SELECT past.status, past.seconds, past.share FROM supervisor.sample_history(begins, ends, most_pages) AS past
    ), told AS (
        SELECT sample.status, round(sum(1 / sample.share))::bigint AS jobs FROM sample GROUP BY sample.status
    ), ended AS (
        SELECT kept.status, CASE WHEN counted.jobs < most_ended THEN counted.jobs
                                 ELSE greatest(told.jobs, counted.jobs) END AS jobs
        FROM (VALUES ('failed'), ('quarantined'), ('cancelled'), ('discarded')) AS kept (status)
        CROSS JOIN LATERAL (
            SELECT count(*) AS jobs FROM (
                SELECT FROM supervisor.job_history AS past
                WHERE past.status = kept.status AND past.status <> 'completed'
                  AND past.finished_at >= begins AND past.finished_at < ends LIMIT most_ended
            ) AS part
        ) AS counted LEFT JOIN told USING (status)
    )
    INSERT INTO supervisor.day_figures AS old
    SELECT the_day, coalesce((SELECT told.jobs FROM told WHERE told.status = 'completed'), 0),
           (SELECT ended.jobs FROM ended WHERE ended.status = 'failed'),
           (SELECT ended.jobs FROM ended WHERE ended.status = 'quarantined'),
           (SELECT ended.jobs FROM ended WHERE ended.status = 'cancelled'),
           (SELECT ended.jobs FROM ended WHERE ended.status = 'discarded'),
           run.quantiles[1], run.quantiles[2], coalesce((SELECT min(sample.share) FROM sample), 1), ends <= began, began
    FROM (
        SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY greatest(sample.seconds, 0)) AS quantiles
        FROM sample WHERE sample.status = 'completed' AND sample.seconds IS NOT NULL
    ) AS run
    ON CONFLICT (day) DO UPDATE SET
        completed = excluded.completed, failed = excluded.failed, quarantined = excluded.quarantined,
        cancelled = excluded.cancelled, discarded = excluded.discarded, p50_s = excluded.p50_s,
        p95_s = excluded.p95_s, sampled = excluded.sampled, final = excluded.final,
        measured_at = excluded.measured_at;
    DELETE FROM supervisor.failure_figures AS old WHERE old.day = the_day;
    INSERT INTO supervisor.failure_figures (day, kind, reason, count, last_job)
    SELECT the_day, cause.kind, cause.reason, count(*), max(cause.job_id)
    FROM (
        SELECT past.kind, past.job_id,
               CASE WHEN past.status = 'quarantined' THEN 'its worker died'
                    WHEN past.last_error IS NULL THEN 'no error was given'
                    ELSE coalesce(substring(past.last_error FROM '^([A-Za-z_][A-Za-z0-9_.]{0,79})(?::|$)'), 'other') END
               AS reason
        FROM (VALUES ('failed'), ('quarantined')) AS kept (status)
        CROSS JOIN LATERAL (
            SELECT * FROM supervisor.job_history AS every
            WHERE every.status = kept.status AND every.status <> 'completed'
              AND every.finished_at >= begins AND every.finished_at < ends
            ORDER BY every.finished_at DESC LIMIT most_causes
        ) AS past
    ) AS cause
    GROUP BY cause.kind, cause.reason ORDER BY count(*) DESC LIMIT 100;
END
$$;

-- Today, and of the days before it the first that is not known as it was at its end: one in each call.
CREATE FUNCTION supervisor.survey_days() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    today  date := clock_timestamp()::date;
    missed date;
BEGIN
    SELECT max(to_date(right(child.relname, 8), 'YYYYMMDD')) INTO missed
    FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass AND child.relname ~ '^job_history_[0-9]{8}$'
      AND to_date(right(child.relname, 8), 'YYYYMMDD') < today
      AND NOT EXISTS (
          SELECT FROM supervisor.day_figures AS known
          WHERE known.day = to_date(right(child.relname, 8), 'YYYYMMDD') AND known.final);
    IF missed IS NOT NULL THEN
        PERFORM supervisor.survey_day(missed);
    END IF;
    PERFORM supervisor.survey_day(today);
END
$$;

-- What of the audit log has not been counted yet. Its rows come in the order of their ids: who writes one holds a
-- lock until its commit.
CREATE FUNCTION supervisor.count_audit() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_rows CONSTANT integer := 5000;
    counted supervisor.audit_counted;
    entry   record;
BEGIN
    SELECT * INTO STRICT counted FROM supervisor.audit_counted;
    FOR entry IN
        SELECT * FROM supervisor.system_audit_log AS log WHERE log.id > counted.last_id ORDER BY log.id LIMIT most_rows
    LOOP
        counted.last_id := entry.id;
        INSERT INTO supervisor.audit_figures AS old
        VALUES (entry.action_type, entry.accepted::integer, (NOT entry.accepted)::integer)
        ON CONFLICT (action_type) DO UPDATE
        SET accepted = old.accepted + excluded.accepted, refused = old.refused + excluded.refused;
        IF entry.accepted AND entry.scope = 'kill_switch' THEN
            counted.killed_s := counted.killed_s
                + coalesce(extract(epoch FROM entry.created_at - counted.killed_since), 0);
            counted.killed_since := CASE WHEN entry.action_type LIKE 'activate%' THEN entry.created_at END;
        END IF;
    END LOOP;
    UPDATE supervisor.audit_counted
    SET last_id = counted.last_id, killed_since = counted.killed_since, killed_s = counted.killed_s
    WHERE audit_counted.last_id <> counted.last_id;
END
$$;

-- The numbers of the whole, by name and label; they are those of `docs/metrics.md`. What is wrong with workers is for
-- the views of the alerts to say.
CREATE FUNCTION supervisor.fleet_now() RETURNS TABLE (name text, label text, value double precision)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'workers', known.status, count(own.id)::double precision
    FROM (VALUES ('STARTING'), ('RUNNING'), ('STOPPING')) AS known (status)
    LEFT JOIN supervisor.workers AS own
           ON own.status = known.status AND own.status IN ('STARTING', 'RUNNING', 'STOPPING') AND own.stopped_at IS NULL
    GROUP BY known.status;
    RETURN QUERY
    SELECT found.name, '', found.count::double precision
    FROM (
        SELECT 'workers_stale', count(*) FROM supervisor.alert_stale_workers
        UNION ALL SELECT 'workers_stopping_hung', count(*) FROM supervisor.alert_hung_workers
        UNION ALL SELECT 'singletons_doubled', count(*) FROM supervisor.alert_several_singletons
        UNION ALL SELECT 'worker_versions', count(*) FROM supervisor.worker_versions
        UNION ALL SELECT 'worker_starts_1h', coalesce(sum(hosts.starts_1h), 0) FROM supervisor.worker_restarts AS hosts
        UNION ALL SELECT 'workers_lost_24h', coalesce(sum(hosts.lost_24h), 0) FROM supervisor.worker_restarts AS hosts
        UNION ALL SELECT 'migrations_unfinished', count(*) FROM supervisor.schema_migrations AS done
                  WHERE done.applied_at IS NULL
        UNION ALL SELECT 'migration_failures', count(*) FROM supervisor.migration_failures
    ) AS found (name, count);
    RETURN QUERY
    SELECT fact.name, '', fact.value::double precision
    FROM (
        SELECT max(extract(epoch FROM clock_timestamp() - own.last_heartbeat_at)) AS silent,
               count(*) FILTER (WHERE own.confirmed_epoch < (SELECT control.epoch FROM supervisor.control)) AS late
        FROM supervisor.workers AS own
        WHERE own.status IN ('STARTING', 'RUNNING', 'STOPPING') AND own.lease_expires_at > clock_timestamp()
    ) AS alive, LATERAL (VALUES
        ('heartbeat_age_seconds', coalesce(alive.silent, 0)), ('workers_unconfirmed', alive.late)) AS fact (name, value);
    RETURN QUERY
    SELECT fact.name, fact.label, fact.value::double precision
    FROM supervisor.control, LATERAL (VALUES
        ('kill_switch_active', '', control.killed::integer),
        ('mode', 'normal', (control.mode = 'normal')::integer),
        ('mode', 'observe_only', (control.mode = 'observe_only')::integer),
        ('mode', 'safe_mode', (control.mode = 'safe_mode')::integer),
        ('switched_off', 'service', cardinality(control.off_services)),
        ('switched_off', 'tenant', cardinality(control.off_tenants)),
        ('switched_off', 'queue', cardinality(control.off_queues)),
        ('switched_off', 'kind', cardinality(control.off_kinds))) AS fact (name, label, value);
    RETURN QUERY
    SELECT 'kill_switch_active_seconds', '',
           (counted.killed_s + coalesce(extract(epoch FROM clock_timestamp() - counted.killed_since), 0))::double precision
    FROM supervisor.audit_counted AS counted;
    RETURN QUERY
    SELECT 'control_changes', seen.action_type, seen.accepted::double precision FROM supervisor.audit_figures AS seen;
    RETURN QUERY
    SELECT fact.name, '', coalesce(fact.value, 0)::double precision
    FROM (
        SELECT sum(seen.accepted) FILTER (WHERE seen.action_type = 'activate_kill_switch') AS kills,
               sum(seen.accepted) FILTER (WHERE seen.action_type = 'set_mode') AS modes,
               sum(seen.accepted) FILTER (WHERE seen.action_type = 'disable_service') AS services,
               sum(seen.refused) AS refused
        FROM supervisor.audit_figures AS seen
    ) AS sums, LATERAL (VALUES
        ('kill_switch_activations', sums.kills), ('mode_changes', sums.modes), ('service_disables', sums.services),
        ('control_refusals', sums.refused)) AS fact (name, value);
    RETURN QUERY
    SELECT fact.name, '', fact.value
    FROM supervisor.database_facts() AS facts, LATERAL (VALUES
        ('oldest_snapshot_seconds', facts.oldest_snapshot_s), ('dead_rows', facts.dead_rows),
        ('live_rows', facts.live_rows)) AS fact (name, value);
END
$$;

CREATE FUNCTION supervisor.survey_fleet() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    PERFORM supervisor.count_audit();
    INSERT INTO supervisor.fleet_figures AS old
    SELECT now_is.name, now_is.label, now_is.value, began FROM supervisor.fleet_now() AS now_is
    ON CONFLICT (name, label) DO UPDATE SET value = excluded.value, measured_at = excluded.measured_at;
    DELETE FROM supervisor.fleet_figures AS old WHERE old.measured_at < began AND NOT starts_with(old.name, 'limit_');
END
$$;

-- How much of each limit is used where it is used most, and what its permits came to, over all keys.
CREATE FUNCTION supervisor.survey_limits() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_keys CONSTANT integer := 1000; -- those that changed last
    began timestamptz := clock_timestamp();
BEGIN
    INSERT INTO supervisor.fleet_figures AS old
    SELECT 'limit_used_ratio', found.name, coalesce(max(found.used / nullif(found.amount, 0)), 0), began
    FROM supervisor.limit_status(NULL, NULL, most_keys) AS found GROUP BY found.name
    UNION ALL
    SELECT fact.name, own.name, fact.value, began
    FROM supervisor.limits AS own CROSS JOIN LATERAL (
        SELECT coalesce(sum(state.granted), 0) AS granted, coalesce(sum(state.held_back), 0) AS held_back,
               coalesce(sum(state.shadowed), 0) AS shadowed
        FROM supervisor.limit_states AS state WHERE state.limit_id = own.id
    ) AS sums CROSS JOIN LATERAL (VALUES
        ('limit_granted', sums.granted), ('limit_held_back', sums.held_back), ('limit_shadowed', sums.shadowed)
    ) AS fact (name, value)
    ON CONFLICT (name, label) DO UPDATE SET value = excluded.value, measured_at = excluded.measured_at;
    DELETE FROM supervisor.fleet_figures AS old WHERE old.measured_at < began AND starts_with(old.name, 'limit_');
END
$$;

-- Measure one part, unless that was done less than `every_s` seconds ago, or fifty times as long ago as it took;
-- with 0 it is done anyhow. It is not while somebody else does it. Tells whether it was measured.
CREATE FUNCTION supervisor.survey(the_part text, every_s double precision) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_share CONSTANT double precision := 0.02;
    began timestamptz;
    due   timestamptz;
BEGIN
    IF the_part IS NULL OR the_part NOT IN ('queues', 'kinds', 'fleet', 'limits', 'days') THEN
        RAISE EXCEPTION 'part = %: is not measured', coalesce(the_part, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'queues, kinds, fleet, limits or days';
    END IF;
    IF NOT pg_try_advisory_xact_lock('supervisor.surveys'::regclass::oid::integer, hashtext(the_part)) THEN
        RETURN false;
    END IF;
    began := clock_timestamp();
    SELECT known.measured_at + make_interval(secs => greatest(every_s, known.took_s / most_share)) INTO due
    FROM supervisor.surveys AS known
    WHERE known.part = the_part AND known.measured_at <= began; -- else the clock was set back
    IF every_s > 0 AND due > began THEN
        RETURN false;
    END IF;
    CASE the_part
        WHEN 'queues' THEN PERFORM supervisor.survey_queues();
        WHEN 'kinds' THEN PERFORM supervisor.survey_kinds();
        WHEN 'fleet' THEN PERFORM supervisor.survey_fleet();
        WHEN 'limits' THEN PERFORM supervisor.survey_limits();
        WHEN 'days' THEN PERFORM supervisor.survey_days();
    END CASE;
    UPDATE supervisor.surveys
    SET measured_at = began, took_s = extract(epoch FROM clock_timestamp() - began)
    WHERE surveys.part = the_part;
    RETURN true;
END
$$;
