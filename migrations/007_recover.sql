-- Leases: renewed by the worker, recovered by every host.

-- Prove that the worker lives. Returns its new expiry and the control epoch; no row: it is LOST.
CREATE FUNCTION supervisor.heartbeat(worker bigint, lease_s double precision, oldest timestamptz)
RETURNS TABLE (lease_expires_at timestamptz, epoch bigint) LANGUAGE sql VOLATILE AS $$
    UPDATE supervisor.workers AS own
    SET last_heartbeat_at = clock_timestamp(), oldest_deadline = oldest,
        lease_expires_at = clock_timestamp() + make_interval(secs => lease_s)
    WHERE own.id = worker AND own.status IN ('STARTING', 'RUNNING', 'STOPPING')
      AND own.lease_expires_at > clock_timestamp()
    RETURNING own.lease_expires_at, (SELECT control.epoch FROM supervisor.control)
$$;

-- Release up to `most` jobs that a worker holds and will not finish. Each costs a loss, or with
-- `max_losses` reached goes into quarantine; the fence moves on, so that the worker's late writes fail.
CREATE FUNCTION supervisor.release_lost(worker bigint, most integer, max_losses integer, past_deadline boolean)
RETURNS TABLE (id bigint, quarantined boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT job.ctid AS place FROM supervisor.jobs AS job
        WHERE job.claimed_by = worker AND (NOT past_deadline OR job.deadline_at < clock_timestamp())
        LIMIT most FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM supervisor.jobs AS job
        WHERE job.ctid = ANY (ARRAY(SELECT held.place FROM held)) AND job.losses + 1 >= max_losses
        RETURNING job.*
    ), unlocked AS (
        DELETE FROM supervisor.job_keys AS key USING ended
        WHERE key.unique_key = ended.unique_key AND key.job_id = ended.id
    ), buried AS (
        INSERT INTO supervisor.job_history (
            id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
            claimed_by, claimed_at, deadline_at, status, finished_at
        )
        SELECT ended.id, ended.kind, ended.queue, ended.service, ended.tenant, ended.priority, ended.run_at,
               ended.created_at, ended.args, ended.unique_key, ended.max_attempts, ended.attempts, ended.interruptions,
               ended.losses + 1, ended.changes, ended.essential, ended.timeout_s, ended.trace_parent,
               'its worker died ' || ended.losses + 1 || ' times while it ran', ended.traceback, ended.lock_version + 1,
               ended.claimed_by, ended.claimed_at, ended.deadline_at, 'quarantined', clock_timestamp()
        FROM ended
        RETURNING job_history.id
    ), freed AS (
        UPDATE supervisor.jobs AS job
        SET claimed_by = NULL, claimed_at = NULL, deadline_at = NULL, lock_version = job.lock_version + 1,
            losses = job.losses + 1
        WHERE job.ctid = ANY (ARRAY(SELECT held.place FROM held)) AND job.losses + 1 < max_losses
        RETURNING job.id
    )
    SELECT buried.id, true FROM buried UNION ALL SELECT freed.id, false FROM freed;
END
$$;

-- Declare dead every worker whose lease has run out. Every host calls this; none waits for another.
CREATE FUNCTION supervisor.find_lost() RETURNS SETOF bigint LANGUAGE sql VOLATILE AS $$
    UPDATE supervisor.workers AS worker SET status = 'LOST', stopped_at = clock_timestamp(), idle_queues = '{}'
    WHERE worker.id = ANY (ARRAY(
        SELECT late.id FROM supervisor.workers AS late
        WHERE late.status IN ('STARTING', 'RUNNING', 'STOPPING') AND late.lease_expires_at < clock_timestamp()
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING worker.id
$$;

-- Move jobs whose time has come from `jobs_waiting` to `jobs`, and wake whoever sleeps on their queues.
CREATE FUNCTION supervisor.promote(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    moved integer;
    woken text[];
BEGIN
    WITH due AS (
        DELETE FROM supervisor.jobs_waiting AS job
        WHERE job.ctid = ANY (ARRAY(
            SELECT waiting.ctid FROM supervisor.jobs_waiting AS waiting
            WHERE waiting.due_at <= clock_timestamp()
            ORDER BY waiting.due_at, waiting.id LIMIT most FOR UPDATE SKIP LOCKED
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
    RETURN moved;
END
$$;
