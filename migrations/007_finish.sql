-- The ends of a claim. Each takes pairs (id, lock_version) and returns the ids for which it held the
-- fence; a pair that is missing from the answer was fenced out: the lease was lost, and nothing changed.
--
-- Jobs are locked in the order of their ids, and unique keys in their own, so that two batches with the
-- same jobs never wait for each other.
--
-- `= ANY (ARRAY[x])` and not `= x`: a plain equality lets the planner merge by order, and so read the
-- whole index of `jobs` for each batch when its statistics say that hardly a job is claimed.

-- Takes claimed jobs out of `jobs`: those whose fence is still the caller's. One scan of the index by the
-- ids, which it sorts, and the fences in a hash table: no join, so no choice of the planner is left. A
-- function, since its rows are read in place, and those of a WITH are copied.
CREATE FUNCTION supervisor.take_claimed(ids bigint[], lock_versions integer[]) RETURNS SETOF supervisor.jobs
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    RETURN QUERY
    DELETE FROM supervisor.jobs AS job
    WHERE job.id = ANY (ids) AND job.claimed_by IS NOT NULL
      AND ((job.id, job.lock_version) IN (
              SELECT claim.id, claim.lock_version FROM unnest(ids, lock_versions) AS claim (id, lock_version)
          )) IS TRUE -- without these two words it would be a join
    RETURNING job.*;
END
$$;

-- The job is over: into history with this status. Null errors and tracebacks for a success.
CREATE FUNCTION supervisor.finish(
    ids bigint[], lock_versions integer[], statuses text[], errors text[], tracebacks text[]
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    IF cardinality(statuses) IS DISTINCT FROM cardinality(ids)
       OR NOT statuses <@ ARRAY['completed', 'failed', 'cancelled', 'quarantined', 'discarded'] THEN
        RAISE EXCEPTION '% has what is no end of a job', coalesce(statuses::text, 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'statuses has one of completed, failed, cancelled, quarantined, discarded for each job';
    END IF;
    RETURN QUERY
    WITH past AS (
        INSERT INTO supervisor.job_history (
            job_id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
            claimed_by, claimed_at, deadline_at, status, finished_at
        )
        SELECT done.id, done.kind, done.queue, done.service, done.tenant, done.priority, done.run_at, done.created_at,
               done.args, done.unique_key, done.max_attempts,
               CASE WHEN ended.status = 'failed' THEN done.attempts + 1 ELSE done.attempts END,
               done.interruptions, done.losses, done.changes, done.essential, done.timeout_s, done.trace_parent,
               coalesce(ended.error, done.last_error), coalesce(ended.trace, done.traceback), done.lock_version,
               done.claimed_by, done.claimed_at, done.deadline_at, ended.status, clock_timestamp()
        FROM supervisor.take_claimed(ids, lock_versions) AS done
        JOIN (
            SELECT DISTINCT ON (item.id, item.lock_version) item.*
            FROM unnest(ids, lock_versions, statuses, errors, tracebacks)
                 AS item (id, lock_version, status, error, trace)
        ) AS ended ON ended.id = done.id AND ended.lock_version = done.lock_version
        RETURNING job_history.job_id, job_history.unique_key
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS held
        USING (
            SELECT past.job_id, past.unique_key FROM past WHERE past.unique_key IS NOT NULL ORDER BY past.unique_key
        ) AS free
        WHERE held.unique_key = ANY (ARRAY[free.unique_key]) AND held.job_id = free.job_id
    )
    SELECT past.job_id FROM past;
END
$$;

-- The same for successes alone, the hot path: nothing to look at but the fence.
CREATE FUNCTION supervisor.complete(ids bigint[], lock_versions integer[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    at_once timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    WITH past AS (
        INSERT INTO supervisor.job_history (
            job_id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
            claimed_by, claimed_at, deadline_at, status, finished_at
        )
        SELECT done.id, done.kind, done.queue, done.service, done.tenant, done.priority, done.run_at, done.created_at,
               done.args, done.unique_key, done.max_attempts, done.attempts, done.interruptions, done.losses,
               done.changes, done.essential, done.timeout_s, done.trace_parent, done.last_error, done.traceback,
               done.lock_version, done.claimed_by, done.claimed_at, done.deadline_at, 'completed', at_once
        FROM supervisor.take_claimed(ids, lock_versions) AS done
        RETURNING job_history.job_id, job_history.unique_key
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS held
        USING (
            SELECT past.job_id, past.unique_key FROM past WHERE past.unique_key IS NOT NULL ORDER BY past.unique_key
        ) AS free
        WHERE held.unique_key = ANY (ARRAY[free.unique_key]) AND held.job_id = free.job_id
    )
    SELECT past.job_id FROM past;
END
$$;

-- The job will run again: after `delays` seconds in `jobs_waiting`, or at once where the delay is 0 or
-- null. `reasons`: 'retry' costs an attempt, 'snoozed' nothing, 'interrupted' nothing but is counted,
-- 'blocked' nothing: whatever the delay, the job waits until `resolve_step` or `retry_jobs` frees it.
-- A retry without an attempt left ends as failed instead, whatever the caller thought; it is returned too.
CREATE FUNCTION supervisor.hand_back(
    ids bigint[], lock_versions integer[], reasons text[], delays double precision[], errors text[], tracebacks text[]
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    now_then  timestamptz;
    longest   CONSTANT double precision := 315360000; -- ten years; NaN and infinity become that
    wrong     text;
    exhausted bigint[];
BEGIN
    SELECT coalesce(given.reason, 'null') INTO wrong FROM unnest(ids, reasons) AS given (id, reason)
    WHERE given.reason IS NULL OR given.reason NOT IN ('retry', 'snoozed', 'interrupted', 'blocked') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is no reason to hand a job back', wrong
            USING ERRCODE = 'invalid_parameter_value', HINT = 'it is one of retry, snoozed, interrupted, blocked';
    END IF;

    -- Three statements follow, so the locks are taken first, in one order.
    WITH held AS MATERIALIZED (
        SELECT job.id, job.attempts + 1 >= job.max_attempts AS was_last FROM supervisor.jobs AS job
        WHERE job.id = ANY (ids) AND job.claimed_by IS NOT NULL
          AND ((job.id, job.lock_version) IN (
                  SELECT claim.id, claim.lock_version FROM unnest(ids, lock_versions) AS claim (id, lock_version)
              )) IS TRUE -- as in `take_claimed`
        ORDER BY job.id FOR UPDATE
    )
    SELECT array_agg(held.id) INTO exhausted
    FROM unnest(ids, reasons) AS given (id, reason) JOIN held ON held.id = given.id
    WHERE given.reason = 'retry' AND held.was_last;
    exhausted := coalesce(exhausted, '{}');
    now_then := clock_timestamp();

    IF exhausted <> '{}' THEN
        RETURN QUERY
        SELECT ended.id
        FROM (
            SELECT array_agg(given.id) AS ids, array_agg(given.lock_version) AS lock_versions,
                   array_agg('failed'::text) AS statuses, array_agg(given.error) AS errors,
                   array_agg(given.trace) AS tracebacks
            FROM unnest(ids, lock_versions, errors, tracebacks) AS given (id, lock_version, error, trace)
            WHERE given.id = ANY (exhausted)
        ) AS last_time,
        LATERAL supervisor.finish(last_time.ids, last_time.lock_versions, last_time.statuses, last_time.errors,
                                  last_time.tracebacks) AS ended (id);
    END IF;

    -- At once: the row stays where it is, without its claim, and with a new fence.
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
        attempts = job.attempts + CASE WHEN ended.reason = 'retry' THEN 1 ELSE 0 END,
        interruptions = least(job.interruptions + CASE WHEN ended.reason = 'interrupted' THEN 1 ELSE 0 END, 32767),
        last_error = coalesce(ended.error, job.last_error), traceback = coalesce(ended.trace, job.traceback)
    FROM unnest(ids, lock_versions, reasons, delays, errors, tracebacks)
         AS ended (id, lock_version, reason, delay, error, trace)
    WHERE coalesce(ended.delay, 0) <= 0 AND ended.reason <> 'blocked'
      AND job.id = ANY (ARRAY[ended.id]) AND job.lock_version = ended.lock_version AND job.claimed_by IS NOT NULL
    RETURNING job.id;

    RETURN QUERY
    WITH parked AS (
        DELETE FROM supervisor.jobs AS job
        USING unnest(ids, lock_versions, reasons, delays, errors, tracebacks)
              AS ended (id, lock_version, reason, delay, error, trace)
        WHERE (ended.delay > 0 OR ended.reason = 'blocked')
          AND job.id = ANY (ARRAY[ended.id]) AND job.lock_version = ended.lock_version AND job.claimed_by IS NOT NULL
        RETURNING job.*, ended.reason, ended.error, ended.trace,
                  CASE WHEN ended.reason = 'blocked' THEN 'infinity'
                       ELSE now_then + make_interval(secs => least(ended.delay, longest)) END AS due_at
    )
    INSERT INTO supervisor.jobs_waiting (
        id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
        interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
        reason, due_at
    )
    SELECT parked.id, parked.kind, parked.queue, parked.service, parked.tenant, parked.priority,
           CASE WHEN parked.reason = 'blocked' THEN parked.run_at ELSE parked.due_at END,
           parked.created_at, parked.args, parked.unique_key, parked.max_attempts,
           parked.attempts + CASE WHEN parked.reason = 'retry' THEN 1 ELSE 0 END,
           least(parked.interruptions + CASE WHEN parked.reason = 'interrupted' THEN 1 ELSE 0 END, 32767),
           parked.losses, parked.changes, parked.essential, parked.timeout_s, parked.trace_parent,
           coalesce(parked.error, parked.last_error), coalesce(parked.trace, parked.traceback), parked.lock_version + 1,
           CASE WHEN parked.reason = 'interrupted' THEN 'retry' ELSE parked.reason END, parked.due_at
    FROM parked
    RETURNING jobs_waiting.id;
END
$$;
