-- Leases: renewed by the worker, recovered by every host.

-- Prove that the worker lives, and say how many jobs it runs. Returns its new expiry and the control epoch; no
-- row: it is LOST.
CREATE FUNCTION supervisor.heartbeat(
    worker bigint, lease_s double precision, oldest timestamptz, running integer DEFAULT NULL
) RETURNS TABLE (lease_expires_at timestamptz, epoch bigint) LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.workers AS own
    SET last_heartbeat_at = clock_timestamp(), oldest_deadline = oldest,
        lease_expires_at = clock_timestamp() + make_interval(secs => lease_s),
        running = coalesce(heartbeat.running, own.running), heartbeats = own.heartbeats + 1,
        longest_gap_s = greatest(own.longest_gap_s, extract(epoch FROM clock_timestamp() - own.last_heartbeat_at)::real)
    WHERE own.id = worker AND own.status IN ('STARTING', 'RUNNING', 'STOPPING')
      AND own.lease_expires_at > clock_timestamp()
    RETURNING own.lease_expires_at, (SELECT control.epoch FROM supervisor.control)
$$;

-- How long past its deadline a job of a living worker is left alone: the worker itself cancels at the
-- deadline, and writes what happened.
CREATE FUNCTION supervisor.deadline_margin() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '10 s';

-- Declare dead every worker whose lease has run out; returns them. One that was stopping keeps its status, so
-- that people see a stop that hangs, until it has been silent for long enough to be called STOPPED; its
-- `stopped_at` says that it holds nothing any more. Every host calls this; none waits for another.
CREATE FUNCTION supervisor.find_lost() RETURNS SETOF bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.workers AS worker SET status = 'STOPPED'
    WHERE worker.id = ANY (ARRAY(
        SELECT hung.id FROM supervisor.workers AS hung
        WHERE hung.status = 'STOPPING' AND hung.stopped_at IS NOT NULL
          AND hung.last_heartbeat_at <= clock_timestamp() - supervisor.stopping_timeout()
        FOR UPDATE SKIP LOCKED
    ));
    UPDATE supervisor.workers AS worker
    SET status = CASE WHEN worker.status = 'STOPPING' THEN 'STOPPING' ELSE 'LOST' END,
        stopped_at = clock_timestamp(), idle_queues = '{}'
    WHERE worker.id = ANY (ARRAY(
        SELECT late.id FROM supervisor.workers AS late
        WHERE late.status IN ('STARTING', 'RUNNING', 'STOPPING') AND late.stopped_at IS NULL
          AND late.lease_expires_at <= clock_timestamp()
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING worker.id
$$;

-- Who holds jobs that it will not finish: workers that are LOST, STOPPED or gone from the table, and
-- living ones with jobs long past their deadline. It looks at the jobs themselves, so it also finds what a
-- claim took while its worker was being declared dead, and a claim whose answer never arrived. It reads
-- the whole table once: call it after `find_lost`, and every some seconds.
CREATE FUNCTION supervisor.find_held() RETURNS TABLE (worker bigint, past_deadline boolean)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT held.claimed_by, alive.id IS NOT NULL
    FROM (
        SELECT job.claimed_by, min(job.deadline_at) AS first_deadline
        FROM supervisor.jobs AS job WHERE job.claimed_by IS NOT NULL GROUP BY job.claimed_by
    ) AS held
    LEFT JOIN supervisor.workers AS alive
           ON alive.id = held.claimed_by AND alive.status IN ('STARTING', 'RUNNING', 'STOPPING')
              AND alive.stopped_at IS NULL
    WHERE alive.id IS NULL OR held.first_deadline < clock_timestamp() - supervisor.deadline_margin()
$$;

-- Release up to `most` jobs that a worker holds and will not finish; call it until it returns none. The
-- jobs of a living worker are released only long past their deadline. Each costs a loss, or with `max_losses`
-- reached goes into quarantine; what a STOPPED worker left behind is an interruption, which costs
-- nothing. The fence moves on, so that the worker's late writes fail.
CREATE FUNCTION supervisor.release_lost(worker bigint, most integer, max_losses integer, past_deadline boolean)
RETURNS TABLE (id bigint, quarantined boolean) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state  text := (SELECT CASE WHEN own.status = 'STOPPING' AND own.stopped_at IS NOT NULL THEN 'LOST' ELSE own.status END
                    FROM supervisor.workers AS own WHERE own.id = worker);
    late   boolean := coalesce(past_deadline, true) OR coalesce(state IN ('STARTING', 'RUNNING', 'STOPPING'), false);
    cost   integer := CASE WHEN state = 'STOPPED' AND NOT late THEN 0 ELSE 1 END;
    limit_ integer := coalesce(max_losses, 3);
    story  text := CASE WHEN late THEN 'ran past its deadline on worker ' || worker
                        WHEN state = 'STOPPED' THEN 'worker ' || worker || ' stopped while it ran'
                        ELSE 'worker ' || worker || ' was lost while it ran' END;
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT job.ctid AS place FROM supervisor.jobs AS job
        WHERE job.claimed_by = worker AND (NOT late OR job.deadline_at < clock_timestamp() - supervisor.deadline_margin())
        LIMIT greatest(coalesce(most, 0), 0) FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM supervisor.jobs AS job
        WHERE job.ctid = ANY (ARRAY(SELECT held.place FROM held)) AND cost > 0 AND job.losses + cost >= limit_
        RETURNING job.*
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS key
        USING (
            SELECT ended.id, ended.unique_key FROM ended WHERE ended.unique_key IS NOT NULL ORDER BY ended.unique_key
        ) AS free
        WHERE key.unique_key = ANY (ARRAY[free.unique_key]) AND key.job_id = free.id
    ), buried AS (
        INSERT INTO supervisor.job_history (
            job_id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
            claimed_by, claimed_at, deadline_at, status, finished_at
        )
        SELECT ended.id, ended.kind, ended.queue, ended.service, ended.tenant, ended.priority, ended.run_at,
               ended.created_at, ended.args, ended.unique_key, ended.max_attempts, ended.attempts, ended.interruptions,
               least(ended.losses + cost, 32767), ended.changes, ended.essential, ended.timeout_s, ended.trace_parent,
               story || '; that was loss ' || ended.losses + cost || ' of ' || limit_, ended.traceback,
               ended.lock_version + 1, ended.claimed_by, ended.claimed_at, ended.deadline_at, 'quarantined',
               clock_timestamp()
        FROM ended
        RETURNING job_history.job_id
    ), freed AS (
        UPDATE supervisor.jobs AS job
        SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
            losses = least(job.losses + cost, 32767), interruptions = least(job.interruptions + 1 - cost, 32767),
            last_error = story
        WHERE job.ctid = ANY (ARRAY(SELECT held.place FROM held)) AND (cost = 0 OR job.losses + cost < limit_)
        RETURNING job.id
    )
    SELECT buried.job_id, true FROM buried UNION ALL SELECT freed.id, false FROM freed;
END
$$;

-- Move jobs whose time has come from `jobs_waiting` to `jobs`, and wake whoever sleeps on their queues. Those
-- that a switch or a gate stops stay, and change their line only. Returns how many were looked after.
CREATE FUNCTION supervisor.promote(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    switches supervisor.control;
    moved    integer;
    woken    text[];
    stopped  integer := 0;
    at_once  timestamptz := clock_timestamp(); -- a volatile function would be no index condition
BEGIN
    switches := supervisor.parking_switches();
    IF supervisor.stops_any(switches) THEN
        WITH due AS MATERIALIZED (
            SELECT waiting.ctid AS place, waiting.queue, waiting.kind, waiting.service, waiting.tenant,
                   waiting.changes, waiting.essential, waiting.args, waiting.lock_version
            FROM supervisor.jobs_waiting AS waiting
            WHERE waiting.line IS NULL AND waiting.due_at <= at_once
            ORDER BY waiting.due_at, waiting.id LIMIT greatest(coalesce(most, 0), 0) FOR UPDATE SKIP LOCKED
        ), stops AS MATERIALIZED (
            SELECT due.place,
                   CASE WHEN stop.switch IS NULL THEN 'limited' ELSE 'paused' END AS reason,
                   CASE WHEN stop.switch IS NOT NULL THEN stop.switch
                        WHEN supervisor.is_gated(switches, due.queue, due.kind, due.service, due.tenant)
                        THEN supervisor.gate_line(due.queue, due.kind, due.service, due.tenant, due.args,
                                                  due.lock_version > 0) END AS line
            FROM due,
                 LATERAL (SELECT supervisor.blocked_by(switches, due.queue, due.kind, due.service, due.tenant,
                                                       due.changes, due.essential)) AS stop (switch)
        )
        UPDATE supervisor.jobs_waiting AS job
        SET reason = stops.reason, line = stops.line, due_at = 'infinity'
        FROM stops WHERE job.ctid = stops.place AND stops.line IS NOT NULL;
        GET DIAGNOSTICS stopped = ROW_COUNT;
    END IF;
    WITH due AS (
        DELETE FROM supervisor.jobs_waiting AS job
        WHERE job.ctid = ANY (ARRAY(
            SELECT waiting.ctid FROM supervisor.jobs_waiting AS waiting
            WHERE waiting.line IS NULL AND waiting.due_at <= at_once
            ORDER BY waiting.due_at, waiting.id LIMIT greatest(coalesce(most, 0) - stopped, 0) FOR UPDATE SKIP LOCKED
        ))
        RETURNING job.*
    ), ready AS (
        INSERT INTO supervisor.jobs (
            id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version
        )
        SELECT due.id, due.kind, due.queue, due.service, due.tenant, due.priority, due.run_at, due.created_at, due.args,
               due.unique_key, due.max_attempts, due.attempts, due.interruptions, due.losses, due.changes, due.essential,
               due.timeout_s, due.trace_parent, due.last_error, due.traceback, due.lock_version
        FROM due
        RETURNING jobs.queue
    )
    SELECT count(*)::integer, array_agg(DISTINCT ready.queue) INTO moved, woken FROM ready;
    IF moved > 0 THEN
        PERFORM supervisor.wake(woken);
    END IF;
    RETURN moved + stopped;
END
$$;
