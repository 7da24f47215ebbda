-- Numbers for people and for metrics.

-- How much of what each queue has. It reads each live table once, and of history what ended in the last
-- hour.
CREATE FUNCTION supervisor.queue_stats() RETURNS TABLE (
    queue text, ready bigint, running bigint, delayed bigint, retrying bigint, blocked bigint, suspects bigint,
    oldest_ready_s double precision, completed_1h bigint, failed_1h bigint
) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH live AS (
        SELECT job.queue,
               count(*) FILTER (WHERE job.claimed_by IS NULL AND job.losses = 0) AS ready,
               count(*) FILTER (WHERE job.claimed_by IS NOT NULL) AS running,
               count(*) FILTER (WHERE job.claimed_by IS NULL AND job.losses > 0) AS suspects,
               min(job.run_at) FILTER (WHERE job.claimed_by IS NULL AND job.losses = 0) AS oldest
        FROM supervisor.jobs AS job GROUP BY job.queue
    ), waiting AS (
        SELECT job.queue,
               count(*) FILTER (WHERE job.reason IN ('future', 'snoozed', 'paused', 'limited')) AS delayed,
               count(*) FILTER (WHERE job.reason = 'retry') AS retrying,
               count(*) FILTER (WHERE job.reason = 'blocked') AS blocked
        FROM supervisor.jobs_waiting AS job GROUP BY job.queue
    ), ended AS (
        SELECT past.queue,
               count(*) FILTER (WHERE past.status = 'completed') AS completed,
               count(*) FILTER (WHERE past.status = 'failed') AS failed
        FROM supervisor.job_history AS past
        WHERE past.finished_at > statement_timestamp() - interval '1 h' GROUP BY past.queue
    ), named AS (
        SELECT live.queue FROM live UNION SELECT waiting.queue FROM waiting UNION SELECT ended.queue FROM ended
        UNION SELECT known.queue FROM supervisor.job_kinds AS known
    )
    SELECT named.queue, coalesce(live.ready, 0), coalesce(live.running, 0), coalesce(waiting.delayed, 0),
           coalesce(waiting.retrying, 0), coalesce(waiting.blocked, 0), coalesce(live.suspects, 0),
           greatest(extract(epoch FROM statement_timestamp() - live.oldest), 0)::double precision,
           coalesce(ended.completed, 0), coalesce(ended.failed, 0)
    FROM named LEFT JOIN live USING (queue) LEFT JOIN waiting USING (queue) LEFT JOIN ended USING (queue)
    ORDER BY named.queue
$$;
