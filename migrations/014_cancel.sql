-- What an operator takes away: jobs for good, and the leases of those that run. Unique keys are freed in one
-- statement, in their own order, after the rows were locked in the order of the ids: as everywhere, so that no
-- two callers wait for each other.

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

-- Who is to be stopped: what was claimed in the scope until `created_at`. The rows are looked for from block to
-- block, again and again until a pass over the table finds none.
CREATE TABLE supervisor.revocations (
    epoch      bigint PRIMARY KEY,
    scope      text NOT NULL,
    name       text NOT NULL,
    value      jsonb NOT NULL,
    story      text NOT NULL,
    created_at timestamptz NOT NULL,
    next_block bigint NOT NULL DEFAULT 0,
    found      bigint NOT NULL DEFAULT 0,  -- in this pass
    stopped    bigint NOT NULL DEFAULT 0,
    done_at    timestamptz
);

CREATE INDEX revocations_open ON supervisor.revocations (epoch) WHERE done_at IS NULL;

-- Takes the leases of what runs in the scope of a revocation: the fence moves on, so that nothing more is written
-- for it, and it costs no attempt. Looks at so many blocks of `jobs` and goes on there the next time: nothing
-- depends on how many jobs wait. `held_up`: some rows were in somebody's transaction, so wait a moment. No row:
-- there is nothing to revoke, or another is at it.
CREATE FUNCTION supervisor.revoke(blocks integer)
RETURNS TABLE (epoch bigint, ids bigint[], held_up boolean, done boolean) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    pending supervisor.revocations;
    only_it supervisor.control;
    seen    bigint;
    ends    bigint := pg_relation_size('supervisor.jobs'::regclass) / current_setting('block_size')::integer;
    next_   bigint;
BEGIN
    SELECT * INTO pending FROM supervisor.revocations AS open WHERE open.done_at IS NULL
    ORDER BY open.epoch LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    only_it := supervisor.only_switch(pending.scope, pending.name, pending.value);
    next_ := pending.next_block + greatest(coalesce(blocks, 0), 1);
    WITH running AS MATERIALIZED (
        SELECT job.ctid AS place FROM supervisor.jobs AS job
        WHERE job.ctid >= format('(%s,0)', pending.next_block)::tid AND job.ctid < format('(%s,0)', next_)::tid
          AND job.claimed_by IS NOT NULL AND job.claimed_at <= pending.created_at
          AND supervisor.blocked_by(only_it, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
              IS NOT NULL
    ), stopped AS (
        UPDATE supervisor.jobs AS job
        SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
            interruptions = least(job.interruptions + 1, 32767), last_error = pending.story
        WHERE job.ctid = ANY (ARRAY(
            SELECT free.ctid FROM supervisor.jobs AS free
            WHERE free.ctid = ANY (ARRAY(SELECT running.place FROM running)) AND free.claimed_at <= pending.created_at
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING job.id
    )
    SELECT (SELECT count(*) FROM running), (SELECT coalesce(array_agg(stopped.id), '{}') FROM stopped) INTO seen, ids;
    epoch := pending.epoch;
    held_up := seen > cardinality(ids);
    done := next_ >= ends AND pending.found + seen = 0;
    UPDATE supervisor.revocations AS own
    SET next_block = CASE WHEN next_ >= ends THEN 0 ELSE next_ END,
        found = CASE WHEN next_ >= ends THEN 0 ELSE own.found + seen END,
        stopped = own.stopped + cardinality(ids),
        done_at = CASE WHEN done THEN clock_timestamp() END
    WHERE own.epoch = pending.epoch;
    PERFORM pg_notify('supervisor' || '_cancel', item.id::text) FROM unnest(ids) AS item (id);
    IF done THEN
        PERFORM pg_notify('supervisor' || '_control', epoch::text);
    END IF;
    RETURN NEXT;
END
$$;

-- The same for what one worker runs, by id, so that it need not wait for the search. Returns those of the jobs that
-- are revoked; not `stopped`: a transaction holds it, which must end first.
CREATE FUNCTION supervisor.revoke_held(worker bigint, ids bigint[]) RETURNS TABLE (id bigint, stopped boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    pending supervisor.revocations;
    only_it supervisor.control;
    found_  bigint[];
    taken   bigint[];
BEGIN
    FOR pending IN
        SELECT * FROM supervisor.revocations AS open WHERE open.done_at IS NULL ORDER BY open.epoch
    LOOP
        only_it := supervisor.only_switch(pending.scope, pending.name, pending.value);
        WITH running AS MATERIALIZED (
            SELECT job.id FROM supervisor.jobs AS job
            WHERE job.id = ANY (revoke_held.ids) AND job.claimed_by = worker AND job.claimed_at <= pending.created_at
              AND supervisor.blocked_by(only_it, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
                  IS NOT NULL
        ), taken AS (
            UPDATE supervisor.jobs AS job
            SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
                interruptions = least(job.interruptions + 1, 32767), last_error = pending.story
            WHERE job.ctid = ANY (ARRAY(
                SELECT free.ctid FROM supervisor.jobs AS free
                WHERE free.id = ANY (ARRAY(SELECT running.id FROM running)) AND free.claimed_by = worker
                  AND free.claimed_at <= pending.created_at
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING job.id
        )
        SELECT (SELECT coalesce(array_agg(running.id), '{}') FROM running),
               (SELECT coalesce(array_agg(taken.id), '{}') FROM taken)
        INTO found_, taken;
        IF taken <> '{}' THEN
            UPDATE supervisor.revocations AS own SET stopped = own.stopped + cardinality(taken)
            WHERE own.epoch = pending.epoch;
        END IF;
        RETURN QUERY SELECT item.id, item.id = ANY (taken) FROM unnest(found_) AS item (id);
    END LOOP;
END
$$;
