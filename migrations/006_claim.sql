-- The claim: the only way a job starts.
--
-- It is VOLATILE plpgsql, so that every statement inside has its own snapshot: first the control lock,
-- then the switches. Read in one statement with its lock, a switch is stale. Above READ COMMITTED there
-- is one snapshot for all, taken before the lock, so the claim refuses to work there.
--
-- The planner settings hold the plan to the two indexes: it must not depend on fresh statistics, since
-- a bulk enqueue comes before any ANALYZE.

-- Opens a claim: checks that the worker may make one, and returns the switches that it must obey.
CREATE FUNCTION supervisor.open_claim(worker bigint) RETURNS supervisor.control LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    switches supervisor.control;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a claim needs a transaction that is READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'default_transaction_isolation of this role or database is not ''read committed''';
    END IF;
    PERFORM pg_advisory_xact_lock_shared('supervisor.control'::regclass::oid::integer, 1); -- as control_lock_shared
    SELECT * INTO STRICT switches FROM supervisor.control;
    PERFORM FROM supervisor.workers AS own
    WHERE own.id = worker AND own.status IN ('STARTING', 'RUNNING') AND own.lease_expires_at > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % has no lease', worker USING ERRCODE = 'SV001';
    END IF;
    RETURN switches;
END
$$;

-- `kinds` are those that the worker can run. The cursor is the key of the last job claimed from this
-- queue; nulls, or (-32768, -infinity, 0), look from the start. Jobs that were lost with a worker before
-- are left to `claim_suspects`. No job is claimed where `most` is null.
CREATE FUNCTION supervisor.claim(
    worker         bigint,
    from_queue     text,
    kinds          text[],
    most           integer,
    after_priority smallint,
    after_run_at   timestamptz,
    after_id       bigint
) RETURNS TABLE (
    id bigint, lock_version integer, kind text, args jsonb, attempts smallint, max_attempts smallint, losses smallint,
    interruptions smallint, tenant text, deadline_at timestamptz, timeout_s real, trace_parent text, priority smallint,
    run_at timestamptz, service text, queue text
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    switches supervisor.control;
    claimed  timestamptz;
    all_on   boolean;
    room     integer := greatest(coalesce(most, 0), 0); -- a null LIMIT would be none
BEGIN
    after_priority := coalesce(after_priority, -32768);
    after_run_at := coalesce(after_run_at, '-infinity');
    after_id := coalesce(after_id, 0);
    switches := supervisor.open_claim(worker);
    IF switches.killed OR from_queue = ANY (switches.off_queues) THEN
        RETURN;
    END IF;
    all_on := switches.mode = 'normal' AND switches.off_kinds = '{}' AND switches.off_services = '{}'
              AND switches.off_tenants = '{}';
    claimed := clock_timestamp();
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = worker, claimed_at = claimed, lock_version = job.lock_version + 1,
        deadline_at = claimed + make_interval(secs => job.timeout_s)
    WHERE job.ctid = ANY (ARRAY(
        SELECT free.ctid FROM supervisor.jobs AS free
        WHERE free.queue = from_queue
          AND (free.priority, free.run_at, free.id) > (after_priority, after_run_at, after_id)
          AND free.claimed_by IS NULL
          AND free.losses = 0
          AND free.kind = ANY (kinds)
          AND (all_on
               OR (free.kind <> ALL (switches.off_kinds)
                   AND free.service <> ALL (switches.off_services)
                   AND (free.tenant IS NULL OR free.tenant <> ALL (switches.off_tenants))
                   AND (switches.mode = 'normal'
                        OR (switches.mode = 'observe_only' AND NOT free.changes)
                        OR (switches.mode = 'safe_mode' AND free.essential))))
        ORDER BY free.priority, free.run_at, free.id
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job.id, job.lock_version, job.kind, job.args, job.attempts, job.max_attempts, job.losses,
              job.interruptions, job.tenant, job.deadline_at, job.timeout_s::real, job.trace_parent, job.priority,
              job.run_at::timestamptz, job.service, job.queue;
END
$$;
