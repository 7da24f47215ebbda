-- Numbers for people and for metrics.

-- What ended since then, for each queue, in several rows. Failures are counted by their index, up to
-- `most_failed` of them. The completed are exact while they fill at most `most_pages` of a day (some 30,000
-- jobs), and beyond that are told from so many pages, evenly chosen: it costs the same whether a thousand
-- jobs ended or a hundred million. Rows of a day lie nearly in the order in which they came, so where to
-- begin is found by halving.
CREATE FUNCTION supervisor.ended_since(since timestamptz)
RETURNS TABLE (queue text, completed bigint, failed bigint) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    most_failed CONSTANT integer := 100000;
    most_pages CONSTANT bigint := 1000;
    late_pages CONSTANT bigint := 50; -- how far a row may lie behind one that came later
    most_rows  CONSTANT integer := 60; -- of a page; a row has 150 bytes at least
    day    regclass;
    pages  bigint;
    low    bigint;
    high   bigint;
    middle bigint;
    seen   timestamptz;
    stride bigint;
    chosen tid[];
BEGIN
    RETURN QUERY
    SELECT past.queue, 0::bigint, count(*)
    FROM (
        SELECT ended.queue FROM supervisor.job_history AS ended
        WHERE ended.status = 'failed' AND ended.finished_at >= since LIMIT most_failed
    ) AS past
    GROUP BY past.queue;
    FOR day IN
        SELECT child.oid::regclass FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass
          AND (child.relname !~ '^job_history_[0-9]{8}$' OR to_date(right(child.relname, 8), 'YYYYMMDD') >= since::date)
    LOOP
        pages := pg_relation_size(day) / current_setting('block_size')::bigint;
        low := 0;
        high := pages;
        WHILE low < high LOOP
            middle := (low + high) / 2;
            EXECUTE format($sql$SELECT min(finished_at) FROM %s WHERE ctid >= $1 AND ctid < $2$sql$, day) INTO seen
            USING format('(%s,0)', middle)::tid, format('(%s,0)', middle + 1)::tid;
            IF seen < since THEN
                low := middle + 1;
            ELSE
                high := middle;
            END IF;
        END LOOP;
        low := greatest(low - late_pages, 0);
        stride := (pages - low) / most_pages + 1;
        IF stride = 1 THEN
            RETURN QUERY EXECUTE format($sql$
                SELECT past.queue, count(*), 0::bigint FROM %s AS past
                WHERE past.ctid >= $1 AND past.finished_at >= $2 AND past.status = 'completed'
                GROUP BY past.queue$sql$, day)
            USING format('(%s,0)', low)::tid, since;
        ELSE
            chosen := ARRAY(
                SELECT format('(%s,%s)', page, place)::tid
                FROM generate_series(low, pages - 1, stride) AS page, generate_series(1, most_rows) AS place
            );
            RETURN QUERY EXECUTE format($sql$
                SELECT past.queue, $3 * count(*), 0::bigint FROM %s AS past
                WHERE past.ctid = ANY ($1) AND past.finished_at >= $2 AND past.status = 'completed'
                GROUP BY past.queue$sql$, day)
            USING chosen, since, stride;
        END IF;
    END LOOP;
END
$$;

-- How much of what each queue has. Two things bound it: each live table is read once, which takes some
-- 0.3 s for a million jobs, and of history no more than a thousand pages a day (see `ended_since`).
-- `oldest_ready_s`: for how long the first of those that may run has been allowed to; 0 if there is none.
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
        SELECT past.queue, sum(past.completed)::bigint AS completed, sum(past.failed)::bigint AS failed
        FROM supervisor.ended_since(statement_timestamp() - interval '1 h') AS past GROUP BY past.queue
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
