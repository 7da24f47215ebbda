-- Durable steps: what a job has done already, so that its next run does not do it again. Everything is
-- written under the fence of the run that did it.

-- `place`: which step of its run it was, from 0. Not `done`: the intent of a step that must not happen
-- twice; whether it happened is known to nobody until it is done, or somebody says what became of it.
CREATE TABLE supervisor.job_steps (
    job_id       bigint NOT NULL,
    name         text NOT NULL,
    place        integer NOT NULL,
    done         boolean NOT NULL,
    result       jsonb,
    lock_version integer NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, name)
);

CREATE TABLE supervisor.job_progress (
    job_id     bigint PRIMARY KEY,
    done       bigint NOT NULL,
    total      bigint,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Write steps down; returns those that were, and what is missing was fenced out. The lock on the job keeps
-- a release away until this commits: whoever claims the job next sees the step. The same record sent
-- twice, after an answer that never came, is accepted twice. What contradicts a record is an error.
CREATE FUNCTION supervisor.record_steps(
    ids bigint[], lock_versions integer[], names text[], positions integer[], results jsonb[], done boolean[]
) RETURNS TABLE (id bigint, name text) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    given    bigint;
    recorded bigint[];
    labels   text[];
    wrong    record;
BEGIN
    -- Jobs in one order, so that two groups with the same ones never wait for each other.
    WITH held AS MATERIALIZED (
        SELECT job.id, job.lock_version FROM supervisor.jobs AS job
        WHERE job.id = ANY (ids) AND job.claimed_by IS NOT NULL
          AND ((job.id, job.lock_version) IN (
                  SELECT run.id, run.lock_version FROM unnest(ids, lock_versions) AS run (id, lock_version)
              )) IS TRUE -- as in `take_claimed`
        ORDER BY job.id FOR SHARE
    ), live AS MATERIALIZED (
        SELECT item.*
        FROM unnest(ids, lock_versions, names, positions, results, record_steps.done)
             AS item (id, lock_version, name, place, result, done)
        JOIN held ON held.id = item.id AND held.lock_version = item.lock_version
    ), written AS (
        INSERT INTO supervisor.job_steps AS step (job_id, name, place, done, result, lock_version)
        SELECT DISTINCT ON (live.id, live.name)
               live.id, live.name, live.place, live.done, live.result, live.lock_version
        FROM live ORDER BY live.id, live.name
        ON CONFLICT (job_id, name) DO UPDATE
        SET done = excluded.done, result = excluded.result, recorded_at = clock_timestamp()
        WHERE step.lock_version = excluded.lock_version AND step.place = excluded.place
          AND (NOT step.done OR (excluded.done AND step.result IS NOT DISTINCT FROM excluded.result))
        RETURNING step.job_id, step.name
    )
    SELECT (SELECT count(*) FROM live), array_agg(written.job_id), array_agg(written.name)
    INTO given, recorded, labels FROM written;

    IF given > coalesce(cardinality(recorded), 0) THEN
        SELECT item.id, item.name INTO wrong
        FROM unnest(ids, lock_versions, names) AS item (id, lock_version, name)
        JOIN supervisor.jobs AS job ON job.id = ANY (ARRAY[item.id])
        LEFT JOIN unnest(recorded, labels) AS one (id, name) ON one.id = item.id AND one.name = item.name
        WHERE job.lock_version = item.lock_version AND job.claimed_by IS NOT NULL
        GROUP BY item.id, item.name HAVING count(one.id) <> 1
        LIMIT 1;
        RAISE EXCEPTION 'step % of job % is recorded already, and otherwise', quote_literal(wrong.name), wrong.id
            USING ERRCODE = 'SV002', DETAIL = json_build_object('job', wrong.id, 'step', wrong.name)::text,
                  HINT = 'give each step of a job a name of its own';
    END IF;
    RETURN QUERY SELECT one.id, one.name FROM unnest(recorded, labels) AS one (id, name);
END
$$;

CREATE FUNCTION supervisor.steps_of(job bigint)
RETURNS TABLE (name text, place integer, done boolean, result jsonb, lock_version integer, recorded_at timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    SELECT step.name, step.place, step.done, step.result, step.lock_version, step.recorded_at
    FROM supervisor.job_steps AS step WHERE step.job_id = job ORDER BY step.place, step.recorded_at
$$;

-- For people to look at. It takes no lock on the job: a stale number harms nobody.
CREATE FUNCTION supervisor.report_progress(ids bigint[], lock_versions integer[], dones bigint[], totals bigint[])
RETURNS SETOF bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    INSERT INTO supervisor.job_progress AS shown (job_id, done, total)
    SELECT DISTINCT ON (item.id) item.id, coalesce(item.done, 0), item.total
    FROM unnest(ids, lock_versions, dones, totals) WITH ORDINALITY AS item (id, lock_version, done, total, ordinality)
    JOIN supervisor.jobs AS job ON job.id = ANY (ARRAY[item.id])
    WHERE job.lock_version = item.lock_version AND job.claimed_by IS NOT NULL
    ORDER BY item.id, item.ordinality DESC
    ON CONFLICT (job_id) DO UPDATE SET done = excluded.done, total = excluded.total, updated_at = clock_timestamp()
    RETURNING shown.job_id
$$;

-- As `complete`, for jobs that recorded steps: these go with them, since nothing will read them again.
CREATE FUNCTION supervisor.complete_with_steps(ids bigint[], lock_versions integer[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    completed bigint[] := ARRAY(SELECT supervisor.complete(ids, lock_versions));
BEGIN
    DELETE FROM supervisor.job_steps AS step WHERE step.job_id = ANY (completed);
    DELETE FROM supervisor.job_progress AS shown WHERE shown.job_id = ANY (completed);
    RETURN QUERY SELECT one.id FROM unnest(completed) AS one (id);
END
$$;

-- Steps and progress of jobs that ended more than `keep_days` days ago, up to `most` of each; returns how
-- many went. Those of a completed job went with it, so few are left to look through.
CREATE FUNCTION supervisor.prune_steps(keep_days integer, most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    old    timestamptz;
    room   integer := greatest(coalesce(most, 0), 0);
    pruned integer;
    more   integer;
BEGIN
    IF keep_days IS NULL OR keep_days NOT BETWEEN 0 AND 36600 THEN
        RAISE EXCEPTION 'keep_days = %: steps are kept for 0 to 36600 days', coalesce(keep_days::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT supervisor.revival_lock(wait => false) THEN
        RETURN 0; -- a job that ended is being taken back, with its steps
    END IF;
    old := clock_timestamp() - make_interval(days => keep_days);
    DELETE FROM supervisor.job_steps AS step
    WHERE step.ctid = ANY (ARRAY(
        SELECT past.ctid FROM supervisor.job_steps AS past
        WHERE past.recorded_at < old
          AND NOT EXISTS (SELECT FROM supervisor.jobs AS job WHERE job.id = past.job_id)
          AND NOT EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.id = past.job_id)
        LIMIT room FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    DELETE FROM supervisor.job_progress AS shown
    WHERE shown.ctid = ANY (ARRAY(
        SELECT past.ctid FROM supervisor.job_progress AS past
        WHERE past.updated_at < old
          AND NOT EXISTS (SELECT FROM supervisor.jobs AS job WHERE job.id = past.job_id)
          AND NOT EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.id = past.job_id)
        LIMIT room FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS more = ROW_COUNT;
    RETURN pruned + more;
END
$$;
