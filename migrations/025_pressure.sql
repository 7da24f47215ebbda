-- Back-pressure: what is set for a queue, old jobs that rise, jobs that are slow, and a database that suffers.
-- Queues and kinds are measured in `queue_figures` and `kind_figures`.

-- max_depth: with so many waiting a queue takes no more. escalate_after_s: a job that could run for so long and did
-- not rises by escalate_by, and again after as long, but never above escalate_to; null: none rises.
CREATE TABLE supervisor.queue_settings (
    queue            text PRIMARY KEY CHECK (queue <> ''),
    max_depth        bigint CHECK (max_depth > 0),
    escalate_after_s double precision CHECK (escalate_after_s >= 1 AND escalate_after_s <= 315360000),
    escalate_by      smallint NOT NULL DEFAULT 1 CHECK (escalate_by > 0),
    escalate_to      smallint NOT NULL DEFAULT 0,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Set what holds for a queue from now on: all of it, so a null takes back what was set before. Who and why stand in
-- the audit log; what is set already is no change. A dry run only says what it would do.
CREATE FUNCTION supervisor.set_queue(
    queue text, max_depth bigint, escalate_after_s double precision, escalate_by smallint, escalate_to smallint,
    actor text, reason text, source text DEFAULT NULL, request_id text DEFAULT NULL, dry_run boolean DEFAULT false
) RETURNS TABLE (changed boolean, before jsonb, after jsonb) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_set boolean := max_depth IS NOT NULL OR escalate_after_s IS NOT NULL;
BEGIN
    IF coalesce(queue, '') = '' OR length(queue) > 255 THEN
        RAISE EXCEPTION 'queue = %: is no name of a queue', coalesce(quote_literal(left(queue, 100)), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = '1 to 255 characters';
    ELSIF max_depth < 1 THEN
        RAISE EXCEPTION 'max_depth = %: is no depth', max_depth
            USING ERRCODE = 'invalid_parameter_value', HINT = 'a number from 1 on, or null for no limit';
    ELSIF NOT escalate_after_s BETWEEN 1 AND 315360000 THEN
        RAISE EXCEPTION 'escalate_after_s = %: is no time to wait', escalate_after_s
            USING ERRCODE = 'invalid_parameter_value', HINT = '1 s to ten years, or null for never';
    ELSIF escalate_by < 1 THEN
        RAISE EXCEPTION 'escalate_by = %: would not raise a job', escalate_by
            USING ERRCODE = 'invalid_parameter_value', HINT = 'a number from 1 on';
    ELSIF btrim(coalesce(actor, '')) = '' OR btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION '% is missing: a change says who made it and why',
            CASE WHEN btrim(coalesce(actor, '')) = '' THEN 'actor' ELSE 'reason' END
            USING ERRCODE = 'invalid_parameter_value', HINT = 'say it in a few words';
    END IF;
    PERFORM supervisor.audit_lock();
    SELECT to_jsonb(old) - 'queue' - 'updated_at' INTO before FROM supervisor.queue_settings AS old
    WHERE old.queue = set_queue.queue;
    after := CASE WHEN is_set THEN jsonb_build_object(
        'max_depth', max_depth, 'escalate_after_s', escalate_after_s, 'escalate_by', coalesce(escalate_by, 1),
        'escalate_to', coalesce(escalate_to, 0)) END;
    changed := before IS DISTINCT FROM after;
    IF changed AND NOT coalesce(dry_run, false) THEN
        DELETE FROM supervisor.queue_settings AS old WHERE old.queue = set_queue.queue;
        IF is_set THEN
            INSERT INTO supervisor.queue_settings (queue, max_depth, escalate_after_s, escalate_by, escalate_to)
            VALUES (queue, max_depth, escalate_after_s, coalesce(escalate_by, 1), coalesce(escalate_to, 0));
        END IF;
        PERFORM supervisor.write_audit('set_queue', 'queue', queue, actor, reason, before, after, true, source, request_id);
    END IF;
    RETURN NEXT;
END
$$;

-- Those of some queues that take no more, by what was measured last: up to some seconds ago, so a burst can go beyond.
CREATE FUNCTION supervisor.full_queues(names text[]) RETURNS TABLE (queue text, depth bigint, max_depth bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT settings.queue, known.depth, settings.max_depth
    FROM supervisor.queue_settings AS settings JOIN supervisor.queue_figures AS known USING (queue)
    WHERE settings.queue = ANY (names) AND known.depth >= settings.max_depth;
END
$$;

-- How far live jobs have risen, and when last.
CREATE TABLE supervisor.escalations (
    job_id       bigint PRIMARY KEY,
    from_priority smallint NOT NULL,
    steps        integer NOT NULL,
    raised_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Raise up to `most` old jobs by a step, the oldest first, whether they may be claimed or wait for a permit; returns
-- how many of each queue. Rows that somebody has taken are left alone. It reads all jobs once, so do not call it more
-- often than `survey` counts them. One host at a time: the others get nothing.
CREATE FUNCTION supervisor.escalate(most integer) RETURNS TABLE (queue text, raised bigint) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    IF NOT pg_try_advisory_xact_lock('supervisor.escalations'::regclass::oid::integer, 1)
        OR NOT EXISTS (SELECT FROM supervisor.queue_settings AS settings WHERE settings.escalate_after_s IS NOT NULL)
    THEN
        RETURN;
    END IF;
    DELETE FROM supervisor.escalations AS past
    WHERE NOT EXISTS (SELECT FROM supervisor.jobs AS job WHERE job.id = past.job_id)
      AND NOT EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.id = past.job_id);
    RETURN QUERY
    WITH ripe AS (
        SELECT job.id, job.queue, job.priority, settings.escalate_by, settings.escalate_to
        FROM supervisor.jobs AS job JOIN supervisor.queue_settings AS settings USING (queue)
        WHERE job.claimed_by IS NULL AND job.priority > settings.escalate_to
          AND job.run_at < clock_timestamp() - make_interval(secs => settings.escalate_after_s)
          AND NOT EXISTS (
              SELECT FROM supervisor.escalations AS past WHERE past.job_id = job.id
                 AND past.raised_at > clock_timestamp() - make_interval(secs => settings.escalate_after_s))
        ORDER BY job.run_at, job.id LIMIT most FOR UPDATE OF job SKIP LOCKED
    ), ripe_at_gates AS (
        SELECT job.id, job.queue, job.priority, settings.escalate_by, settings.escalate_to
        FROM supervisor.jobs_waiting AS job JOIN supervisor.queue_settings AS settings USING (queue)
        WHERE job.reason = 'limited' AND job.priority > settings.escalate_to
          AND job.run_at < clock_timestamp() - make_interval(secs => settings.escalate_after_s)
          AND NOT EXISTS (
              SELECT FROM supervisor.escalations AS past WHERE past.job_id = job.id
                 AND past.raised_at > clock_timestamp() - make_interval(secs => settings.escalate_after_s))
        ORDER BY job.run_at, job.id LIMIT most FOR UPDATE OF job SKIP LOCKED
    ), raised AS (
        UPDATE supervisor.jobs AS job SET priority = greatest(ripe.priority::integer - ripe.escalate_by, ripe.escalate_to)
        FROM ripe WHERE job.id = ripe.id RETURNING job.id, job.queue, ripe.priority
    ), raised_at_gates AS (
        UPDATE supervisor.jobs_waiting AS job
        SET priority = greatest(ripe.priority::integer - ripe.escalate_by, ripe.escalate_to)
        FROM ripe_at_gates AS ripe WHERE job.id = ripe.id RETURNING job.id, job.queue, ripe.priority
    ), every AS (
        SELECT * FROM raised UNION ALL SELECT * FROM raised_at_gates
    ), noted AS (
        INSERT INTO supervisor.escalations AS past
        SELECT every.id, every.priority, 1, clock_timestamp() FROM every
        ON CONFLICT (job_id) DO UPDATE SET steps = past.steps + 1, raised_at = excluded.raised_at
    )
    SELECT every.queue, count(*) FROM every GROUP BY every.queue;
END
$$;

-- Runs that their workers found to take much longer than their kind usually does. What has ended since is not shown,
-- and goes at the next measurement.
CREATE TABLE supervisor.slow_jobs (
    job_id       bigint PRIMARY KEY,
    lock_version integer NOT NULL,
    expected_s   double precision NOT NULL,
    noticed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Put down runs as slow that are still under way; returns how many were not known.
CREATE FUNCTION supervisor.note_slow(ids bigint[], lock_versions integer[], expected double precision[])
RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    noted integer;
BEGIN
    INSERT INTO supervisor.slow_jobs AS known (job_id, lock_version, expected_s)
    SELECT job.id, job.lock_version, found.expected
    FROM unnest(ids, lock_versions, expected) AS found (id, lock_version, expected)
    JOIN supervisor.jobs AS job ON job.id = found.id AND job.lock_version = found.lock_version
    WHERE job.claimed_by IS NOT NULL
    ORDER BY job.id
    ON CONFLICT (job_id) DO UPDATE
    SET lock_version = excluded.lock_version, expected_s = excluded.expected_s, noticed_at = excluded.noticed_at
    WHERE known.lock_version <> excluded.lock_version;
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END
$$;

-- Those that are still under way, the one that runs for longest first.
CREATE FUNCTION supervisor.slow(most integer) RETURNS TABLE (
    id bigint, kind text, queue text, worker bigint, since timestamptz, running double precision,
    expected double precision
) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT job.id, job.kind, job.queue, job.claimed_by, job.claimed_at,
           extract(epoch FROM clock_timestamp() - job.claimed_at)::double precision, known.expected_s
    FROM supervisor.slow_jobs AS known
    JOIN supervisor.jobs AS job ON job.id = known.job_id AND job.lock_version = known.lock_version
    WHERE job.claimed_by IS NOT NULL
    ORDER BY job.claimed_at, job.id LIMIT greatest(coalesce(most, 0), 0)
$$;

CREATE FUNCTION supervisor.forget_slow() RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM supervisor.slow_jobs AS known
    WHERE NOT EXISTS (
        SELECT FROM supervisor.jobs AS job
        WHERE job.id = known.job_id AND job.lock_version = known.lock_version AND job.claimed_by IS NOT NULL
    )
$$;

-- What makes claims dear: the age of the oldest transaction because of which dead rows cannot go, as far as this role
-- may see the sessions of others, and how many rows of `jobs` live and are dead, as PostgreSQL counts them.
CREATE FUNCTION supervisor.database_facts(
    OUT oldest_snapshot_s double precision, OUT dead_rows bigint, OUT live_rows bigint
) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT greatest(
               (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - other.xact_start)), 0)
                FROM pg_stat_activity AS other
                WHERE other.datname = current_database() AND other.backend_xmin IS NOT NULL
                  AND other.backend_type IN ('client backend', 'walsender', 'parallel worker')
                  AND other.pid <> pg_backend_pid()),
               (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - left_.prepared)), 0)
                FROM pg_prepared_xacts AS left_ WHERE left_.database = current_database()),
               0)::double precision,
           pg_stat_get_dead_tuples('supervisor.jobs'::regclass), pg_stat_get_live_tuples('supervisor.jobs'::regclass)
$$;
