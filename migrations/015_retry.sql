-- What an operator gives another run: jobs that ended, jobs that wait, jobs with a step that nobody knows
-- the end of.

-- Only one caller at a time takes jobs back from history, so that none comes back twice.
CREATE FUNCTION supervisor.revival_lock(wait boolean) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT wait THEN
        RETURN pg_try_advisory_xact_lock('supervisor.control'::regclass::oid::integer, 3);
    END IF;
    PERFORM pg_advisory_xact_lock('supervisor.control'::regclass::oid::integer, 3);
    RETURN true;
END
$$;

-- What became of each job's last run: the newest of its rows in history.
CREATE FUNCTION supervisor.newest_end(job bigint) RETURNS SETOF supervisor.job_history LANGUAGE sql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = on SET jit = off -- a summary is read as a bitmap
AS $$
    (SELECT ended.* FROM supervisor.job_history AS ended
     WHERE ended.job_id = job AND ended.status <> 'completed'
     UNION ALL
     SELECT ended.* FROM supervisor.job_history AS ended
     WHERE ended.job_id = job AND ended.status = 'completed')
    ORDER BY lock_version DESC LIMIT 1
$$;

-- Move jobs that wait for one of these reasons to `jobs` before their time; returns those that were.
CREATE FUNCTION supervisor.run_now(ids bigint[], reasons text[]) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    moved bigint[];
    woken text[];
BEGIN
    WITH free AS (
        DELETE FROM supervisor.jobs_waiting AS job
        USING (SELECT DISTINCT item.id FROM unnest(ids) AS item (id) ORDER BY item.id) AS wanted
        WHERE job.id = ANY (ARRAY[wanted.id]) AND job.reason = ANY (reasons)
        RETURNING job.*
    ), ready AS (
        INSERT INTO supervisor.jobs AS job (
            id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version
        )
        SELECT free.id, free.kind, free.queue, free.service, free.tenant, free.priority,
               least(free.run_at, clock_timestamp()), free.created_at, free.args, free.unique_key, free.max_attempts,
               free.attempts, free.interruptions, free.losses, free.changes, free.essential, free.timeout_s,
               free.trace_parent, free.last_error, free.traceback, free.lock_version
        FROM free
        RETURNING job.id, job.queue
    )
    SELECT array_agg(ready.id), array_agg(DISTINCT ready.queue) INTO moved, woken FROM ready;
    IF woken IS NOT NULL THEN
        PERFORM supervisor.wake(woken);
    END IF;
    RETURN QUERY SELECT one.id FROM unnest(moved) AS one (id);
END
$$;

-- Run jobs again. One that ended and was not completed comes back under its id as if it had never run,
-- but with its steps. One that waits runs at once. `problem` says why one cannot; null: it will.
CREATE FUNCTION supervisor.retry_jobs(ids bigint[]) RETURNS TABLE (id bigint, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    moved  bigint[];
    past   record;
    holder bigint;
    woken  text[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a retry needs a transaction that is READ COMMITTED, not %',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM supervisor.revival_lock(wait => true);
    moved := ARRAY(SELECT supervisor.run_now(ids, '{future,retry,snoozed,blocked}'));
    RETURN QUERY SELECT one.id, NULL::text FROM unnest(moved) AS one (id);
    -- Whether it lives is seen together with its history: what did not live then cannot come back but here.
    FOR past IN
        SELECT wanted.id AS wanted, newest.*,
               wanted.id = ANY (ARRAY(SELECT job.id FROM supervisor.jobs AS job WHERE job.id = ANY (ids)))
               OR wanted.id = ANY (ARRAY(SELECT job.id FROM supervisor.jobs_waiting AS job WHERE job.id = ANY (ids)))
               AS is_live
        FROM (
            SELECT DISTINCT item.id FROM unnest(ids) AS item (id)
            WHERE item.id IS NOT NULL AND item.id <> ALL (moved)
        ) AS wanted
        LEFT JOIN LATERAL supervisor.newest_end(wanted.id) AS newest ON true
        ORDER BY newest.unique_key, wanted.id
    LOOP
        id := past.wanted;
        problem := CASE WHEN past.is_live THEN 'live'
                        WHEN past.job_id IS NULL THEN 'unknown'
                        WHEN past.status = 'completed' THEN 'completed' END;
        IF problem IS NULL AND past.unique_key IS NOT NULL THEN
            INSERT INTO supervisor.job_keys AS held (unique_key, job_id) VALUES (past.unique_key, past.job_id)
            ON CONFLICT (unique_key) DO UPDATE SET touched_at = clock_timestamp()
            RETURNING held.job_id INTO holder;
            problem := CASE WHEN holder <> past.job_id THEN 'key taken' END;
        END IF;
        IF problem IS NULL THEN
            INSERT INTO supervisor.jobs (
                id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts,
                interruptions, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version
            ) VALUES (
                past.job_id, past.kind, past.queue, past.service, past.tenant, past.priority, clock_timestamp(),
                past.created_at, past.args, past.unique_key, past.max_attempts, past.interruptions, past.changes,
                past.essential, past.timeout_s, past.trace_parent, past.last_error, past.traceback,
                past.lock_version + 1
            );
            woken := woken || past.queue;
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM supervisor.wake(woken);
END
$$;

-- Say what became of an `at_most_once` step whose outcome nobody knew. `again`: it did not happen, so
-- forget that it was begun; else it did, with this result. The job runs again when no such step is left.
-- False: no blocked job has begun such a step.
CREATE FUNCTION supervisor.resolve_step(job bigint, step text, result jsonb, again boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM supervisor.jobs_waiting AS blocked
    WHERE blocked.id = resolve_step.job AND blocked.reason = 'blocked' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF again THEN
        DELETE FROM supervisor.job_steps AS begun
        WHERE begun.job_id = resolve_step.job AND begun.name = resolve_step.step AND NOT begun.done;
    ELSE
        UPDATE supervisor.job_steps AS begun
        SET done = true, result = resolve_step.result, recorded_at = clock_timestamp()
        WHERE begun.job_id = resolve_step.job AND begun.name = resolve_step.step AND NOT begun.done;
    END IF;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM supervisor.job_steps AS begun WHERE begun.job_id = resolve_step.job AND NOT begun.done;
    IF NOT FOUND THEN
        PERFORM supervisor.run_now(ARRAY[resolve_step.job], '{blocked}');
    END IF;
    RETURN true;
END
$$;
