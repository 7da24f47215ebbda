-- The days of `job_history`: made ahead, dropped when they are old. Both functions may be called by
-- every host at any time: one works, the others return 0. Days are those of UTC. A partition that is not
-- called job_history_YYYYMMDD is left alone.
--
-- The strong locks are waited for 250 ms at most, and one that does not come is left to the next call: a
-- long report must not stop the jobs behind it from being finished.

CREATE FUNCTION supervisor.history_lock() RETURNS boolean LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_try_advisory_xact_lock('supervisor.control'::regclass::oid::integer, 2)
$$;

-- Make the partitions of today and of the next `days` days; returns how many were missing and are there
-- now. Attaching takes a lock that lets finishes go on, unlike CREATE TABLE .. PARTITION OF. What the
-- default partition has of such a day moves over, unless it is so much that others would wait for long.
CREATE FUNCTION supervisor.make_history(days integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '250ms' SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
    most_moved CONSTANT integer := 50000;
    made  integer := 0;
    day   date;
    begins timestamptz;
    ends   timestamptz;
    name  text;
    late  bigint;
BEGIN
    IF days IS NULL OR days < 0 OR days > 366 THEN
        RAISE EXCEPTION 'days = %: history is made for 0 to 366 days ahead', coalesce(days::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT supervisor.history_lock() THEN
        RETURN 0;
    END IF;
    FOR ahead IN 0..days LOOP
        day := (clock_timestamp() AT TIME ZONE 'UTC')::date + ahead;
        begins := day::timestamp AT TIME ZONE 'UTC';
        ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
        name := 'job_history_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format($sql$supervisor.%I$sql$, name)) IS NOT NULL;
        BEGIN
            EXECUTE format(
                $sql$CREATE TABLE supervisor.%I (LIKE supervisor.job_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)$sql$,
                name);
            SELECT count(*) INTO late FROM (
                SELECT FROM supervisor.job_history_rest AS rest
                WHERE rest.finished_at >= begins AND rest.finished_at < ends LIMIT most_moved + 1
            ) AS found;
            IF late > most_moved THEN
                RAISE EXCEPTION USING ERRCODE = 'lock_not_available';
            END IF;
            LOCK TABLE supervisor.job_history_rest IN ACCESS EXCLUSIVE MODE;
            EXECUTE format(
                $sql$WITH moved AS (
                    DELETE FROM supervisor.job_history_rest WHERE finished_at >= $1 AND finished_at < $2 RETURNING *
                ) INSERT INTO supervisor.%I SELECT * FROM moved$sql$, name) USING begins, ends;
            EXECUTE format(
                $sql$ALTER TABLE supervisor.job_history ATTACH PARTITION supervisor.%I FOR VALUES FROM (%L) TO (%L)$sql$,
                name, begins, ends);
            made := made + 1;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL; -- the default partition takes what is finished that day
        END;
    END LOOP;
    RETURN made;
END
$$;

-- Drop the partitions of days that ended more than `keep_days` days ago, and prune the default one;
-- returns how many rows and partitions went. A drop locks all history, but for no longer than its commit.
CREATE FUNCTION supervisor.drop_history(keep_days integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '250ms' SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
    most_pruned CONSTANT integer := 50000;
    oldest  date;
    dropped integer;
    name    text;
BEGIN
    IF keep_days IS NULL OR keep_days < 0 OR keep_days > 36600 THEN
        RAISE EXCEPTION 'keep_days = %: history is kept for 0 to 36600 days', coalesce(keep_days::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT supervisor.history_lock() THEN
        RETURN 0;
    END IF;
    oldest := (clock_timestamp() AT TIME ZONE 'UTC')::date - keep_days;
    -- First, as it needs no strong lock and may take a while.
    DELETE FROM supervisor.job_history_rest AS rest
    WHERE rest.ctid = ANY (ARRAY(
        SELECT old.ctid FROM supervisor.job_history_rest AS old
        WHERE old.finished_at < oldest::timestamp AT TIME ZONE 'UTC' LIMIT most_pruned FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS dropped = ROW_COUNT;
    FOR name IN
        SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'supervisor.job_history'::regclass
          AND child.relname ~ '^job_history_[0-9]{8}$'
          AND child.relnamespace = 'supervisor'::regnamespace
          AND to_date(right(child.relname, 8), 'YYYYMMDD') < oldest
        ORDER BY child.relname
    LOOP
        BEGIN
            EXECUTE format($sql$DROP TABLE supervisor.%I$sql$, name);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            EXIT; -- someone reads it; the next call tries again
        END;
    END LOOP;
    RETURN dropped;
END
$$;

SELECT supervisor.make_history(7);
