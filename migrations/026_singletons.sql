-- Singletons: actors that run in one process at a time, whichever that is.

-- Who runs each, and how often it has changed hands. A name belongs to its worker until that gives it back,
-- or is over. The fence moves on with each taking, so that a former holder can be told from the present one.
CREATE TABLE supervisor.singletons (
    name        text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    worker      bigint,                          -- null: nobody
    fence       bigint NOT NULL DEFAULT 0,
    taken_at    timestamptz,
    released_at timestamptz
);

-- Take those of the names that are free, for a worker with a lease; it needs none for a name that it has
-- already, whose fence moves on all the same. One row for each name: `taken` or not, and if not, its `holder`,
-- null where it changes hands at this moment. It waits for nobody.
CREATE FUNCTION supervisor.take_singletons(worker bigint, names text[])
RETURNS TABLE (name text, taken boolean, fence bigint, holder bigint) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    at_once timestamptz := clock_timestamp();
    wanted  text;
    present record;
BEGIN
    PERFORM FROM supervisor.workers AS own
    WHERE own.id = take_singletons.worker AND own.status IN ('STARTING', 'RUNNING') AND own.lease_expires_at > at_once;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % has no lease', take_singletons.worker USING ERRCODE = 'SV001';
    END IF;
    INSERT INTO supervisor.singletons (name)
    SELECT DISTINCT given.name FROM unnest(names) AS given (name)
    WHERE NOT EXISTS (SELECT FROM supervisor.singletons AS known WHERE known.name = given.name)
    ORDER BY 1 ON CONFLICT DO NOTHING;
    FOR wanted IN SELECT DISTINCT given.name FROM unnest(names) AS given (name) ORDER BY 1 LOOP
        name := wanted;
        taken := false;
        fence := NULL;
        holder := NULL;
        SELECT single.* INTO present FROM supervisor.singletons AS single
        WHERE single.name = wanted FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            IF present.worker IS DISTINCT FROM take_singletons.worker AND NOT supervisor.is_over(present.worker, at_once)
            THEN
                holder := present.worker;
            ELSE
                UPDATE supervisor.singletons AS single
                SET worker = take_singletons.worker, fence = single.fence + 1, taken_at = clock_timestamp(),
                    released_at = NULL
                WHERE single.name = wanted
                RETURNING single.fence, true, single.worker INTO fence, taken, holder;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Whether a worker is over, and can never again be what it was: it has ended, or its lease had run out at
-- `at_once`. A heartbeat may be under way at this moment, so its row is written anew: a heartbeat that comes after
-- that reads it again and finds the lease over. While one holds the row it lives.
CREATE FUNCTION supervisor.is_over(worker bigint, at_once timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM supervisor.workers AS own
    WHERE own.id = is_over.worker AND own.status IN ('STARTING', 'RUNNING', 'STOPPING') AND own.stopped_at IS NULL;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    UPDATE supervisor.workers AS own SET lease_expires_at = own.lease_expires_at
    WHERE own.id = ANY (ARRAY(
        SELECT late.id FROM supervisor.workers AS late
        WHERE late.id = is_over.worker AND late.lease_expires_at <= at_once FOR UPDATE SKIP LOCKED
    ));
    RETURN FOUND;
END
$$;

-- Give names back. Returns those that the worker had.
CREATE FUNCTION supervisor.release_singletons(worker bigint, names text[]) RETURNS SETOF text LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.singletons AS single SET worker = NULL, released_at = clock_timestamp()
    WHERE single.worker = release_singletons.worker AND single.name = ANY (ARRAY(
        SELECT own.name FROM supervisor.singletons AS own
        WHERE own.name = ANY (names) AND own.worker = release_singletons.worker ORDER BY own.name FOR UPDATE
    ))
    RETURNING single.name
$$;

-- For a singleton's own transactions: nobody takes it over before this transaction has ended, or it fails here
-- (SV006), since somebody has. With that, what a process writes that stood still for too long is refused. A process
-- that stands still in the middle must not keep the name for ever: its session ends after 10 s without a statement.
CREATE FUNCTION supervisor.hold_singleton(name text, fence bigint) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    idle CONSTANT integer := (SELECT setting::integer FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout');
BEGIN
    IF idle = 0 OR idle > 10000 THEN
        PERFORM set_config('idle_in_transaction_session_timeout', '10s', true);
    END IF;
    PERFORM FROM supervisor.singletons AS single
    WHERE single.name = hold_singleton.name AND single.fence = hold_singleton.fence AND single.worker IS NOT NULL
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'singleton %: fence % is over', coalesce(quote_literal(hold_singleton.name), 'null'),
            coalesce(hold_singleton.fence::text, 'null')
            USING ERRCODE = 'SV006', HINT = 'another process has it, or it was given back: end this work';
    END IF;
END
$$;
