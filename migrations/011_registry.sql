-- Workers come and go: what a process says of itself, and what its host can prove of it.

-- A new row for a process, in status STARTING. A live row of the same name is that of the same process,
-- which lost it or never heard of it: it is LOST from now on, so that what it may hold is released.
--
-- All of it is one transaction: workers whose lease is over are called LOST, those that hang in their stop
-- STOPPED; then, if there is a singleton, another worker that has it stands in the way (SV004); then the
-- row. `cleaned` are those that are over since this call: the caller releases what they hold. It waits for
-- locks for 5 s at a time and 10 s in all.
CREATE FUNCTION supervisor.register_worker(
    name text, host text, pid integer, worker_type text, version text, lease_s double precision,
    metadata jsonb DEFAULT '{}', singleton text DEFAULT NULL
) RETURNS TABLE (id bigint, lease_expires_at timestamptz, epoch bigint, cleaned bigint[]) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    most_tries CONSTANT integer := 10;
    began      CONSTANT timestamptz := clock_timestamp();
    over       bigint[];
    former     bigint[];
    holder     record;
BEGIN
    IF coalesce(length(register_worker.name), 0) NOT BETWEEN 1 AND 256 THEN
        RAISE EXCEPTION 'name has % characters: that of a worker has 1 to 256', coalesce(length(register_worker.name), 0)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF lease_s IS NULL OR NOT (lease_s > 0 AND lease_s <= 86400) THEN
        RAISE EXCEPTION 'lease_s = %: a lease is longer than 0 and not longer than 86400 seconds',
            coalesce(lease_s::text, 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(register_worker.singleton) NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION 'singleton has % characters: that of a worker has 1 to 64', length(register_worker.singleton)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    over := supervisor.clean_workers();
    FOR try IN 1..most_tries LOOP
        IF clock_timestamp() > began + interval '10 s' THEN
            RAISE EXCEPTION 'the registration has waited for others for 10 s' USING ERRCODE = 'lock_not_available';
        END IF;
        WITH ended AS (
            UPDATE supervisor.workers AS former SET status = 'LOST', stopped_at = clock_timestamp(), idle_queues = '{}'
            WHERE former.name = register_worker.name AND former.status IN ('STARTING', 'RUNNING', 'STOPPING')
            RETURNING former.id
        )
        SELECT array_agg(ended.id) INTO former FROM ended;
        over := over || coalesce(former, '{}');
        SELECT other.* INTO holder FROM supervisor.workers AS other
        WHERE other.active_singleton = register_worker.singleton;
        IF FOUND THEN
            RAISE EXCEPTION 'Cannot register: another worker already active: singleton % is held by worker % (%, pid % on %), % since %',
                quote_literal(register_worker.singleton), holder.id, holder.name, holder.pid, quote_literal(holder.host),
                holder.status, to_char(holder.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                USING ERRCODE = 'SV004',
                      HINT = 'stop that one, or wait: its place is free as soon as it stops, or when its lease is over';
        END IF;
        BEGIN
            RETURN QUERY
            INSERT INTO supervisor.workers AS own (
                name, host, pid, worker_type, version, lease_expires_at, metadata, singleton
            )
            VALUES (register_worker.name, coalesce(register_worker.host, ''), coalesce(register_worker.pid, 0),
                    coalesce(register_worker.worker_type, 'worker'), coalesce(register_worker.version, ''),
                    clock_timestamp() + make_interval(secs => lease_s), coalesce(register_worker.metadata, '{}'),
                    register_worker.singleton)
            RETURNING own.id, own.lease_expires_at, (SELECT control.epoch FROM supervisor.control), over;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            NULL; -- registered by another at this moment: its row has the name, or the singleton, and is seen now
        END;
    END LOOP;
    RAISE EXCEPTION 'name = %: others register it again and again', quote_literal(register_worker.name)
        USING ERRCODE = 'unique_violation', HINT = 'give each process a name of its own';
END
$$;

-- Ends whoever is over and not known to be: LOST where the lease is, STOPPED where a stop has been silent for
-- long enough. Returns them. It waits for nobody: a row that is locked belongs to somebody who lives.
CREATE FUNCTION supervisor.clean_workers() RETURNS bigint[] LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH ended AS (
        UPDATE supervisor.workers AS worker
        SET stopped_at = clock_timestamp(), idle_queues = '{}',
            status = CASE WHEN worker.status <> 'STOPPING' THEN 'LOST'
                          WHEN worker.last_heartbeat_at <= clock_timestamp() - supervisor.stopping_timeout() THEN 'STOPPED'
                          ELSE 'STOPPING' END
        WHERE worker.id = ANY (ARRAY(
            SELECT late.id FROM supervisor.workers AS late
            WHERE late.status IN ('STARTING', 'RUNNING', 'STOPPING') AND late.lease_expires_at <= clock_timestamp()
              AND (late.stopped_at IS NULL
                   OR late.last_heartbeat_at <= clock_timestamp() - supervisor.stopping_timeout())
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING worker.id
    )
    SELECT coalesce(array_agg(ended.id ORDER BY ended.id), '{}') FROM ended
$$;

-- False: the row is STOPPED, LOST or gone, and the process must register anew before it does anything; or it
-- is STOPPING, from where no way leads back.
CREATE FUNCTION supervisor.set_worker_status(worker bigint, status text) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF status IS NULL OR status NOT IN ('RUNNING', 'STOPPING', 'STOPPED') THEN
        RAISE EXCEPTION '% is no status that a worker gives itself', coalesce(quote_literal(status), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'it is one of RUNNING, STOPPING, STOPPED';
    END IF;
    UPDATE supervisor.workers AS own
    SET status = set_worker_status.status,
        stopping_at = CASE WHEN set_worker_status.status <> 'RUNNING'
                           THEN coalesce(own.stopping_at, clock_timestamp()) END,
        stopped_at = CASE WHEN set_worker_status.status = 'STOPPED' THEN clock_timestamp() ELSE own.stopped_at END,
        running = CASE WHEN set_worker_status.status = 'STOPPED' THEN 0 ELSE own.running END,
        -- One that takes no more jobs is not worth a NOTIFY.
        idle_queues = CASE WHEN set_worker_status.status = 'RUNNING' THEN own.idle_queues ELSE '{}' END
    WHERE own.id = worker
      AND (own.status IN ('STARTING', 'RUNNING')
           OR (own.status = 'STOPPING' AND set_worker_status.status <> 'RUNNING'));
    RETURN FOUND;
END
$$;

-- For workers whose process is proven dead, since the lock on its file is free: LOST at once, without
-- waiting for the end of the lease. Returns those that were alive until now.
CREATE FUNCTION supervisor.declare_dead(names text[]) RETURNS SETOF bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.workers AS worker SET status = 'LOST', stopped_at = clock_timestamp(), idle_queues = '{}'
    WHERE worker.id = ANY (ARRAY(
        SELECT dead.id FROM supervisor.workers AS dead
        WHERE dead.name = ANY (names) AND dead.status IN ('STARTING', 'RUNNING', 'STOPPING')
        ORDER BY dead.id FOR UPDATE
    ))
    RETURNING worker.id
$$;

-- On which queues the worker sleeps, and so wants a NOTIFY; none: it is awake. After it has said so it
-- must claim once more: what was enqueued before was not announced.
CREATE FUNCTION supervisor.sleep_on(worker bigint, queues text[]) RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.workers AS own SET idle_queues = coalesce(queues, '{}')
    WHERE own.id = worker AND own.status IN ('STARTING', 'RUNNING')
      AND own.idle_queues IS DISTINCT FROM coalesce(queues, '{}')
$$;

-- Rows of workers that ended more than `keep_days` days ago go, up to `most` of them; returns how many.
-- Nothing depends on them: a job whose worker has no row is found as one of a lost worker.
CREATE FUNCTION supervisor.prune_workers(keep_days integer, most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pruned integer;
BEGIN
    IF keep_days IS NULL OR keep_days NOT BETWEEN 0 AND 36600 THEN
        RAISE EXCEPTION 'keep_days = %: rows of workers are kept for 0 to 36600 days', coalesce(keep_days::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    DELETE FROM supervisor.workers AS worker
    WHERE worker.id = ANY (ARRAY(
        SELECT ended.id FROM supervisor.workers AS ended
        WHERE ended.status IN ('STOPPED', 'LOST')
          AND ended.stopped_at < clock_timestamp() - make_interval(days => keep_days)
        ORDER BY ended.id LIMIT greatest(coalesce(most, 0), 0) FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

-- Everything that a worker holds, for a process that has forgotten what it runs. It reads the whole table.
CREATE FUNCTION supervisor.orphans(worker bigint) RETURNS TABLE (id bigint, lock_version integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT job.id, job.lock_version FROM supervisor.jobs AS job WHERE job.claimed_by = worker ORDER BY job.id
$$;

-- Those of the pairs whose claim still stands.
CREATE FUNCTION supervisor.still_held(ids bigint[], lock_versions integer[]) RETURNS SETOF bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    SELECT job.id
    FROM unnest(ids, lock_versions) AS claim (id, lock_version)
    JOIN supervisor.jobs AS job ON job.id = ANY (ARRAY[claim.id])
    WHERE job.lock_version = claim.lock_version AND job.claimed_by IS NOT NULL
$$;

-- The job may run until so many seconds from now; returns that deadline, or null where the claim is gone.
CREATE FUNCTION supervisor.extend_deadline(id bigint, lock_version integer, seconds double precision)
RETURNS timestamptz LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extended timestamptz;
BEGIN
    IF seconds IS NULL OR NOT (seconds > 0 AND seconds <= 315360000) THEN
        RAISE EXCEPTION 'seconds = %: a deadline is moved to more than 0 and at most 315360000 seconds from now',
            coalesce(seconds::text, 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE supervisor.jobs AS job SET deadline_at = clock_timestamp() + make_interval(secs => seconds)
    WHERE job.id = extend_deadline.id AND job.lock_version = extend_deadline.lock_version AND job.claimed_by IS NOT NULL
    RETURNING job.deadline_at INTO extended;
    RETURN extended;
END
$$;
