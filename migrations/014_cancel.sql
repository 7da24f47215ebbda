-- What an operator takes away. Unique keys are freed in one statement, in their own order, after the rows
-- were locked in the order of the ids: as everywhere, so that no two callers wait for each other.

-- Into history as cancelled, wherever they live; returns those that were. The fence moves on, so that
-- what a running one still writes is refused, and its worker is told to stop it.
CREATE FUNCTION supervisor.cancel_jobs(ids bigint[], reason text)
RETURNS TABLE (id bigint, was_running boolean) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    ended   bigint[] := '{}';
    running boolean[] := '{}';
    locked  text[] := '{}';
    gone    bigint[];
    stopped boolean[];
    keys    text[];
BEGIN
    LOOP
        WITH wanted AS MATERIALIZED (
            SELECT DISTINCT item.id FROM unnest(ids) AS item (id) ORDER BY item.id
        ), here AS (
            DELETE FROM supervisor.jobs AS job USING wanted WHERE job.id = ANY (ARRAY[wanted.id])
            RETURNING job.id, job.kind, job.queue, job.service, job.tenant, job.priority, job.run_at, job.created_at,
                      job.args, job.unique_key, job.max_attempts, job.attempts, job.interruptions, job.losses,
                      job.changes, job.essential, job.timeout_s, job.trace_parent, job.last_error, job.traceback,
                      job.lock_version, job.claimed_by, job.claimed_at, job.deadline_at
        ), parked AS (
            DELETE FROM supervisor.jobs_waiting AS job USING wanted WHERE job.id = ANY (ARRAY[wanted.id])
            RETURNING job.id, job.kind, job.queue, job.service, job.tenant, job.priority, job.run_at, job.created_at,
                      job.args, job.unique_key, job.max_attempts, job.attempts, job.interruptions, job.losses,
                      job.changes, job.essential, job.timeout_s, job.trace_parent, job.last_error, job.traceback,
                      job.lock_version, job.claimed_by, job.claimed_at, job.deadline_at
        ), past AS (
            INSERT INTO supervisor.job_history AS over (
                job_id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts,
                attempts, interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback,
                lock_version, claimed_by, claimed_at, deadline_at, status, finished_at
            )
            SELECT job.id, job.kind, job.queue, job.service, job.tenant, job.priority, job.run_at, job.created_at,
                   job.args, job.unique_key, job.max_attempts, job.attempts, job.interruptions, job.losses, job.changes,
                   job.essential, job.timeout_s, job.trace_parent, coalesce(reason, job.last_error), job.traceback,
                   job.lock_version + 1, job.claimed_by, job.claimed_at, job.deadline_at, 'cancelled', clock_timestamp()
            FROM (SELECT here.* FROM here UNION ALL SELECT parked.* FROM parked) AS job
            RETURNING over.job_id, over.claimed_by, over.unique_key
        )
        SELECT array_agg(past.job_id), array_agg(past.claimed_by IS NOT NULL), array_agg(past.unique_key)
        INTO gone, stopped, keys FROM past;
        ended := ended || gone;
        running := running || stopped;
        locked := locked || keys;
        -- One that changed tables meanwhile was in neither for that statement; now it is in one of them.
        EXIT WHEN NOT (EXISTS (SELECT FROM supervisor.jobs AS job WHERE job.id = ANY (ids))
                       OR EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.id = ANY (ids)));
    END LOOP;

    DELETE FROM supervisor.job_keys AS held
    USING (
        SELECT job.id, job.unique_key FROM unnest(ended, locked) AS job (id, unique_key)
        WHERE job.unique_key IS NOT NULL ORDER BY job.unique_key
    ) AS free
    WHERE held.unique_key = ANY (ARRAY[free.unique_key]) AND held.job_id = free.id;
    -- Two literals, since the channel is named after the schema, whatever that is called.
    PERFORM pg_notify('supervisor' || '_cancel', job.id::text)
    FROM unnest(ended, running) AS job (id, was_running) WHERE job.was_running;
    RETURN QUERY SELECT job.id, job.was_running FROM unnest(ended, running) AS job (id, was_running);
END
$$;
