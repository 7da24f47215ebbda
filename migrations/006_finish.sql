-- The ends of a claim. Each takes pairs (id, lock_version) and returns the ids for which it held the
-- fence; a pair that is missing from the answer was fenced out: the lease was lost, and nothing changed.

-- The job is over: into history with this status. Nulls for a success.
CREATE FUNCTION supervisor.finish(
    ids bigint[], lock_versions integer[], statuses text[], errors text[], tracebacks text[]
) RETURNS SETOF bigint LANGUAGE sql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    WITH done AS (
        DELETE FROM supervisor.jobs AS job
        USING unnest(ids, lock_versions, statuses, errors, tracebacks) AS ended (id, lock_version, status, error, trace)
        WHERE job.id = ended.id AND job.lock_version = ended.lock_version AND job.claimed_by IS NOT NULL
        RETURNING job.*, ended.status, ended.error, ended.trace
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS held USING done
        WHERE held.unique_key = done.unique_key AND held.job_id = done.id
    )
    INSERT INTO supervisor.job_history (
        id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
        interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version, claimed_by,
        claimed_at, deadline_at, status, finished_at
    )
    SELECT done.id, done.kind, done.queue, done.service, done.tenant, done.priority, done.run_at, done.created_at,
           done.args, done.unique_key, done.max_attempts,
           CASE WHEN done.status = 'failed' THEN done.attempts + 1 ELSE done.attempts END,
           done.interruptions, done.losses, done.changes, done.essential, done.timeout_s, done.trace_parent,
           coalesce(done.error, done.last_error), coalesce(done.trace, done.traceback), done.lock_version,
           done.claimed_by, done.claimed_at, done.deadline_at, done.status, clock_timestamp()
    FROM done
    RETURNING job_history.id
$$;

-- The same for successes alone, the hot path: nothing to look at but the fence.
CREATE FUNCTION supervisor.complete(ids bigint[], lock_versions integer[]) RETURNS SETOF bigint
LANGUAGE sql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    WITH done AS (
        DELETE FROM supervisor.jobs AS job
        USING unnest(ids, lock_versions) AS ended (id, lock_version)
        WHERE job.id = ended.id AND job.lock_version = ended.lock_version AND job.claimed_by IS NOT NULL
        RETURNING job.*
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS held USING done
        WHERE held.unique_key = done.unique_key AND held.job_id = done.id
    )
    INSERT INTO supervisor.job_history
    SELECT done.*, 'completed', clock_timestamp() FROM done
    RETURNING job_history.id
$$;

-- The job will run again: after `delays` seconds in `jobs_waiting`, or at once where the delay is 0.
-- `reasons`: 'retry' costs an attempt, 'snoozed' nothing, 'interrupted' nothing but is counted.
CREATE FUNCTION supervisor.hand_back(
    ids bigint[], lock_versions integer[], reasons text[], delays double precision[], errors text[], tracebacks text[]
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    now_then timestamptz := clock_timestamp();
BEGIN
    -- At once: the row stays where it is, without its claim, and with a new fence.
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
        attempts = job.attempts + CASE WHEN ended.reason = 'retry' THEN 1 ELSE 0 END,
        interruptions = job.interruptions + CASE WHEN ended.reason = 'interrupted' THEN 1 ELSE 0 END,
        last_error = coalesce(ended.error, job.last_error), traceback = coalesce(ended.trace, job.traceback)
    FROM unnest(ids, lock_versions, reasons, delays, errors, tracebacks)
         AS ended (id, lock_version, reason, delay, error, trace)
    WHERE ended.delay <= 0 AND job.id = ended.id AND job.lock_version = ended.lock_version
      AND job.claimed_by IS NOT NULL
    RETURNING job.id;

    RETURN QUERY
    WITH parked AS (
        DELETE FROM supervisor.jobs AS job
        USING unnest(ids, lock_versions, reasons, delays, errors, tracebacks)
              AS ended (id, lock_version, reason, delay, error, trace)
        WHERE ended.delay > 0 AND job.id = ended.id AND job.lock_version = ended.lock_version
          AND job.claimed_by IS NOT NULL
        RETURNING job.*, ended.reason, ended.delay, ended.error, ended.trace
    )
    INSERT INTO supervisor.jobs_waiting (
        id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
        interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version, reason, due_at
    )
    SELECT parked.id, parked.kind, parked.queue, parked.service, parked.tenant, parked.priority,
           now_then + make_interval(secs => parked.delay), parked.created_at, parked.args, parked.unique_key,
           parked.max_attempts, parked.attempts + CASE WHEN parked.reason = 'retry' THEN 1 ELSE 0 END,
           parked.interruptions + CASE WHEN parked.reason = 'interrupted' THEN 1 ELSE 0 END,
           parked.losses, parked.changes, parked.essential, parked.timeout_s, parked.trace_parent,
           coalesce(parked.error, parked.last_error), coalesce(parked.trace, parked.traceback), parked.lock_version + 1,
           CASE WHEN parked.reason = 'interrupted' THEN 'retry' ELSE parked.reason END,
           now_then + make_interval(secs => parked.delay)
    FROM parked
    RETURNING jobs_waiting.id;
END
$$;
