-- The claim: the only way a job starts.
--
-- It is VOLATILE plpgsql, so that every statement inside has its own snapshot: first the control lock,
-- then the switches. Read in one statement with its lock, a switch is stale. Above READ COMMITTED there
-- is one snapshot for all, taken before the lock, so the claim refuses to work there.
--
-- The planner settings hold the plan to the indexes: it must not depend on fresh statistics, since a bulk
-- enqueue comes before any ANALYZE.
--
-- Jobs of tenants are claimed tenant by tenant, or in order while that is fair, those without a tenant by `claim`,
-- and those behind a gate by `claim_gated`; none of the three meets a job of another.

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

-- What of the switches can concern a job of these kinds that is in a queue which is on, and without a gate.
-- A list of a thousand names that concern others then costs a claim nothing for each job.
CREATE FUNCTION supervisor.narrowed(switches supervisor.control, kinds text[]) RETURNS supervisor.control
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    switches.off_queues := '{}';
    switches.gated_queues := '{}';
    IF switches.off_kinds <> '{}' THEN
        switches.off_kinds := ARRAY(SELECT unnest(switches.off_kinds) INTERSECT SELECT unnest(kinds));
    END IF;
    IF switches.gated_kinds <> '{}' THEN
        switches.gated_kinds := ARRAY(SELECT unnest(switches.gated_kinds) INTERSECT SELECT unnest(kinds));
    END IF;
    RETURN switches;
END
$$;

-- Whether nothing at all stands against a job without a tenant, in a queue that is on and has no gate.
CREATE FUNCTION supervisor.all_on(switches supervisor.control) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (switches).mode = 'normal' AND (switches).off_kinds = '{}' AND (switches).off_services = '{}'
    AND (switches).gated_kinds = '{}' AND (switches).gated_services = '{}';

-- Jobs without a tenant. `kinds` are those that the worker can run. The cursor is the key of the last job
-- claimed from this queue; nulls, or (-32768, -infinity, 0), look from the start. Jobs that were lost with a
-- worker before are left to `claim_suspects`. No job is claimed where `most` is null.
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
    IF switches.killed OR switches.gated_all OR from_queue = ANY (switches.off_queues)
       OR from_queue = ANY (switches.gated_queues) THEN
        RETURN;
    END IF;
    all_on := supervisor.all_on(switches);
    IF NOT all_on THEN
        switches := supervisor.narrowed(switches, kinds);
        all_on := supervisor.all_on(switches);
    END IF;
    claimed := clock_timestamp();
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = worker, claimed_at = claimed, lock_version = job.lock_version + 1,
        deadline_at = claimed + make_interval(secs => job.timeout_s)
    WHERE job.ctid = ANY (ARRAY(
        SELECT free.ctid FROM supervisor.jobs AS free
        WHERE free.queue = from_queue
          AND free.tenant IS NULL
          AND (free.priority, free.run_at, free.id) > (after_priority, after_run_at, after_id)
          AND free.claimed_by IS NULL
          AND free.losses = 0
          AND free.kind = ANY (kinds)
          AND (all_on
               OR (supervisor.blocked_by(switches, free.queue, free.kind, free.service, free.tenant, free.changes,
                                         free.essential) IS NULL
                   AND NOT supervisor.is_gated(switches, free.queue, free.kind, free.service, free.tenant)))
        ORDER BY free.priority, free.run_at, free.id
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job.id, job.lock_version, job.kind, job.args, job.attempts, job.max_attempts, job.losses,
              job.interruptions, job.tenant, job.deadline_at, job.timeout_s::real, job.trace_parent, job.priority,
              job.run_at::timestamptz, job.service, job.queue;
END
$$;

-- As `claim`, for the jobs of tenants, whosever they are. For whom it is fair to: a tenant with a million jobs stands
-- before the others here. A plan of its own, since each of the two needs its own index.
CREATE FUNCTION supervisor.claim_in_order(
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
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off
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
    IF switches.killed OR switches.gated_all OR switches.gated_tenanted OR from_queue = ANY (switches.off_queues)
       OR from_queue = ANY (switches.gated_queues) THEN
        RETURN;
    END IF;
    switches := supervisor.narrowed(switches, kinds);
    all_on := supervisor.all_on(switches) AND switches.off_tenants = '{}' AND switches.gated_tenants = '{}';
    claimed := clock_timestamp();
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = worker, claimed_at = claimed, lock_version = job.lock_version + 1,
        deadline_at = claimed + make_interval(secs => job.timeout_s)
    WHERE job.ctid = ANY (ARRAY(
        SELECT free.ctid FROM supervisor.jobs AS free
        WHERE free.queue = from_queue
          AND free.tenant >= '' -- as in the index
          AND (free.priority, free.run_at, free.id) > (after_priority, after_run_at, after_id)
          AND free.claimed_by IS NULL
          AND free.losses = 0
          AND free.kind = ANY (kinds)
          AND (all_on
               OR (supervisor.blocked_by(switches, free.queue, free.kind, free.service, free.tenant, free.changes,
                                         free.essential) IS NULL
                   AND NOT supervisor.is_gated(switches, free.queue, free.kind, free.service, free.tenant)))
        ORDER BY free.priority, free.run_at, free.id
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job.id, job.lock_version, job.kind, job.args, job.attempts, job.max_attempts, job.losses,
              job.interruptions, job.tenant, job.deadline_at, job.timeout_s::real, job.trace_parent, job.priority,
              job.run_at::timestamptz, job.service, job.queue;
END
$$;

-- Which tenants have jobs in this queue that nobody has claimed, in the order of their names after
-- `after_tenant` (null: from the first), with their weights. One step in the index for each, however many
-- jobs it has. Tenants that are off or behind a gate are left out. Whether a worker can run the jobs is
-- not looked at.
CREATE FUNCTION supervisor.ready_tenants(from_queue text, after_tenant text, most integer)
RETURNS TABLE (tenant text, weight real) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    switches supervisor.control;
BEGIN
    after_tenant := coalesce(after_tenant, '');
    SELECT * INTO STRICT switches FROM supervisor.control;
    IF switches.killed OR switches.gated_all OR switches.gated_tenanted OR from_queue = ANY (switches.off_queues)
       OR from_queue = ANY (switches.gated_queues) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE step AS (
        (SELECT job.tenant FROM supervisor.jobs AS job
         WHERE job.queue = from_queue AND job.tenant > after_tenant AND job.losses = 0 AND job.claimed_by IS NULL
         ORDER BY job.tenant LIMIT 1)
        UNION ALL
        SELECT following.tenant
        FROM step,
             LATERAL (SELECT job.tenant FROM supervisor.jobs AS job
                      WHERE job.queue = from_queue AND job.tenant > step.tenant AND job.losses = 0
                        AND job.claimed_by IS NULL
                      ORDER BY job.tenant LIMIT 1) AS following
    )
    SELECT step.tenant, coalesce(own.weight, 1)::real
    FROM step LEFT JOIN supervisor.tenants AS own ON own.tenant = step.tenant
    WHERE step.tenant <> ALL (switches.off_tenants) AND step.tenant <> ALL (switches.gated_tenants)
    LIMIT greatest(coalesce(most, 0), 0);
END
$$;

-- As `claim`, for the jobs of tenants: from each at most so many, behind a cursor of its own. Arrays have one
-- element for each tenant. Tenants that are off or behind a gate are left out.
CREATE FUNCTION supervisor.claim_tenants(
    worker           bigint,
    from_queue       text,
    kinds            text[],
    tenants          text[],
    takes            integer[],
    after_priorities smallint[],
    after_run_ats    timestamptz[],
    after_ids        bigint[]
) RETURNS TABLE (
    id bigint, lock_version integer, kind text, args jsonb, attempts smallint, max_attempts smallint, losses smallint,
    interruptions smallint, tenant text, deadline_at timestamptz, timeout_s real, trace_parent text, priority smallint,
    run_at timestamptz, service text, queue text
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    switches supervisor.control;
    claimed  timestamptz;
    off      text[];
    all_on   boolean;
BEGIN
    switches := supervisor.open_claim(worker);
    IF switches.killed OR switches.gated_all OR switches.gated_tenanted OR from_queue = ANY (switches.off_queues)
       OR from_queue = ANY (switches.gated_queues) THEN
        RETURN;
    END IF;
    off := switches.off_tenants || switches.gated_tenants;
    all_on := supervisor.all_on(switches);
    IF NOT all_on THEN
        switches := supervisor.narrowed(switches, kinds);
        all_on := supervisor.all_on(switches);
        switches.off_tenants := '{}'; -- asked for each tenant, and not for each of its jobs
        switches.gated_tenants := '{}';
    END IF;
    claimed := clock_timestamp();
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = worker, claimed_at = claimed, lock_version = job.lock_version + 1,
        deadline_at = claimed + make_interval(secs => job.timeout_s)
    WHERE job.ctid = ANY (ARRAY(
        SELECT picked.place
        FROM unnest(tenants, takes, after_priorities, after_run_ats, after_ids)
             AS turn (tenant, take, after_priority, after_run_at, after_id),
             LATERAL (
                 SELECT free.ctid AS place FROM supervisor.jobs AS free
                 WHERE free.queue = from_queue
                   AND free.tenant = turn.tenant
                   AND (free.priority, free.run_at, free.id)
                     > (coalesce(turn.after_priority, -32768), coalesce(turn.after_run_at, '-infinity'),
                        coalesce(turn.after_id, 0))
                   AND free.claimed_by IS NULL
                   AND free.losses = 0
                   AND free.kind = ANY (kinds)
                   AND (all_on
                        OR (supervisor.blocked_by(switches, free.queue, free.kind, free.service, free.tenant,
                                                  free.changes, free.essential) IS NULL
                            AND NOT supervisor.is_gated(switches, free.queue, free.kind, free.service, free.tenant)))
                 ORDER BY free.priority, free.run_at, free.id
                 LIMIT greatest(coalesce(turn.take, 0), 0)
                 FOR UPDATE SKIP LOCKED
             ) AS picked
        WHERE turn.tenant <> ALL (off)
    ))
    RETURNING job.id, job.lock_version, job.kind, job.args, job.attempts, job.max_attempts, job.losses,
              job.interruptions, job.tenant, job.deadline_at, job.timeout_s::real, job.trace_parent, job.priority,
              job.run_at::timestamptz, job.service, job.queue;
END
$$;
