-- The quarantine lane: jobs that were lost with a worker before, called suspects, run apart from all others.

-- As `claim`, for suspects with `least_losses` to `most_losses` losses, of any of these queues. Those
-- with the fewest losses come first: they are the least dangerous.
CREATE FUNCTION supervisor.claim_suspects(
    worker bigint, queues text[], kinds text[], most integer, least_losses integer, most_losses integer
) RETURNS TABLE (
    id bigint, lock_version integer, kind text, args jsonb, attempts smallint, max_attempts smallint, losses smallint,
    interruptions smallint, tenant text, deadline_at timestamptz, timeout_s real, trace_parent text, priority smallint,
    run_at timestamptz, service text, queue text
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    switches supervisor.control;
    claimed  timestamptz;
    room     integer := greatest(coalesce(most, 0), 0);
BEGIN
    switches := supervisor.open_claim(worker);
    IF switches.killed THEN
        RETURN;
    END IF;
    claimed := clock_timestamp();
    RETURN QUERY
    UPDATE supervisor.jobs AS job
    SET claimed_by = worker, claimed_at = claimed, lock_version = job.lock_version + 1,
        deadline_at = claimed + make_interval(secs => job.timeout_s)
    WHERE job.ctid = ANY (ARRAY(
        SELECT free.ctid FROM supervisor.jobs AS free
        WHERE free.losses > 0 AND free.losses BETWEEN least_losses AND most_losses
          AND free.queue = ANY (queues)
          AND free.claimed_by IS NULL
          AND free.kind = ANY (kinds)
          AND supervisor.blocked_by(switches, free.queue, free.kind, free.service, free.tenant, free.changes,
                                    free.essential) IS NULL
          AND NOT supervisor.is_gated(switches, free.queue, free.kind, free.service, free.tenant)
        ORDER BY free.losses, free.priority, free.run_at, free.id
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING job.id, job.lock_version, job.kind, job.args, job.attempts, job.max_attempts, job.losses,
              job.interruptions, job.tenant, job.deadline_at, job.timeout_s::real, job.trace_parent, job.priority,
              job.run_at::timestamptz, job.service, job.queue;
END
$$;

-- How many suspects could start now: those with fewer than `last_losses` losses, which run together, and
-- those on their last, which run alone. Neither is counted beyond 1000. One behind a gate that opens later
-- does not count.
CREATE FUNCTION supervisor.suspects(queues text[], kinds text[], last_losses integer)
RETURNS TABLE (in_company bigint, alone bigint) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    switches supervisor.control;
    at_once  timestamptz := clock_timestamp();
BEGIN
    SELECT * INTO STRICT switches FROM supervisor.control;
    RETURN QUERY
    WITH free AS NOT MATERIALIZED (
        SELECT job.losses
        FROM supervisor.jobs AS job
        WHERE job.losses > 0 AND job.queue = ANY (queues) AND job.claimed_by IS NULL AND job.kind = ANY (kinds)
          AND supervisor.blocked_by(switches, job.queue, job.kind, job.service, job.tenant, job.changes,
                                    job.essential) IS NULL
          AND NOT supervisor.is_gated(switches, job.queue, job.kind, job.service, job.tenant)
        UNION ALL
        SELECT job.losses
        FROM supervisor.jobs_waiting AS job
        WHERE job.losses > 0 AND job.reason = 'limited' AND job.queue = ANY (queues) AND job.kind = ANY (kinds)
          AND supervisor.blocked_by(switches, job.queue, job.kind, job.service, job.tenant, job.changes,
                                    job.essential) IS NULL
          AND NOT EXISTS (
              SELECT FROM supervisor.gate_lines AS shut
              WHERE shut.queue = job.queue AND shut.line = job.line AND shut.epoch = switches.epoch
                AND shut.open_at > at_once
          )
    )
    SELECT (SELECT count(*) FROM (SELECT FROM free WHERE free.losses < last_losses LIMIT 1000) AS found),
           (SELECT count(*) FROM (SELECT FROM free WHERE free.losses >= last_losses LIMIT 1000) AS found);
END
$$;
