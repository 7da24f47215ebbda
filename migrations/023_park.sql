-- Parking: jobs that a switch or a gate stops go out of the way of the claims, and come back in their order.
--
-- Nothing here is needed for the switches to hold: the claim looks for itself. A claim that began before the
-- change, or a job that came in after it, leaves at most a job in `jobs` that nobody may claim, and this moves
-- it. No lock is taken that a claim waits for: rows are locked one by one, and those that are taken are skipped.
-- The switches are read as they stand now and may change meanwhile; whatever was moved wrongly is moved back by
-- the next call.

-- The switches for which jobs are parked: not for the one over everything, nor for a queue, where the claim
-- returns at once.
CREATE FUNCTION supervisor.parking_switches() RETURNS supervisor.control LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    switches supervisor.control;
BEGIN
    SELECT * INTO STRICT switches FROM supervisor.control;
    switches.killed := false;
    switches.off_queues := '{}';
    RETURN switches;
END
$$;

-- Whether any job can be stopped by these.
CREATE FUNCTION supervisor.stops_any(switches supervisor.control) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT supervisor.all_on(switches) OR (switches).off_tenants <> '{}' OR (switches).gated_tenants <> '{}'
    OR (switches).gated_queues <> '{}' OR (switches).gated_tenanted OR (switches).gated_all;

-- One host at a time looks through the whole table: whose turn it is until when, for which epoch that was done,
-- and when it is due again.
CREATE TABLE supervisor.parking_turn (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder       text NOT NULL DEFAULT '',
    ends         timestamptz NOT NULL DEFAULT '-infinity',
    passed_epoch bigint NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT '-infinity'
);

INSERT INTO supervisor.parking_turn DEFAULT VALUES;

-- What there is to do. `pass_due`: to look through the whole table, and at all lines behind gates;
-- `paused`: to look whether jobs that were parked can come back. `epoch` is that of the switches.
CREATE FUNCTION supervisor.parking_state(OUT epoch bigint, OUT pass_due boolean, OUT paused boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    switches supervisor.control := supervisor.parking_switches();
    limited  boolean := EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.reason = 'limited');
BEGIN
    epoch := switches.epoch;
    paused := EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.reason = 'paused');
    SELECT (turn.passed_epoch < switches.epoch OR turn.due_at <= clock_timestamp())
           AND (limited OR supervisor.stops_any(switches))
    INTO STRICT pass_due FROM supervisor.parking_turn AS turn;
END
$$;

-- `holder` has the turn for so many seconds from now; false: it is another's.
CREATE FUNCTION supervisor.take_parking_turn(holder text, seconds double precision) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    UPDATE supervisor.parking_turn AS turn
    SET holder = take_parking_turn.holder, ends = clock_timestamp() + make_interval(secs => seconds)
    WHERE turn.ctid = ANY (ARRAY(
        SELECT free.ctid FROM supervisor.parking_turn AS free
        WHERE free.holder = take_parking_turn.holder OR free.ends <= clock_timestamp()
        FOR UPDATE SKIP LOCKED
    ));
    RETURN FOUND;
END
$$;

-- `holder` has looked through everything as of this epoch; that is due again in so many seconds.
CREATE FUNCTION supervisor.end_parking_turn(holder text, epoch bigint, again_in double precision) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.parking_turn AS turn
    SET ends = '-infinity', passed_epoch = end_parking_turn.epoch,
        due_at = clock_timestamp() + make_interval(secs => again_in)
    WHERE turn.holder = end_parking_turn.holder
$$;

-- Look through so many blocks of `jobs`, and move what nobody has claimed and something stops to
-- `jobs_waiting`. `next_block` is where to go on; null: this was the end, or nothing is stopped at all.
CREATE FUNCTION supervisor.park(from_block bigint, blocks integer, OUT next_block bigint, OUT moved bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_indexscan = off SET jit = off
AS $$
DECLARE
    switches supervisor.control := supervisor.parking_switches();
    first    tid := format('(%s,0)', from_block);
    beyond   tid := format('(%s,0)', least(from_block + blocks, 4294967295));
BEGIN
    moved := 0;
    IF NOT supervisor.stops_any(switches) THEN
        RETURN;
    END IF;
    WITH stopped AS (
        DELETE FROM supervisor.jobs AS job
        WHERE job.ctid = ANY (ARRAY(
            SELECT free.ctid FROM supervisor.jobs AS free
            WHERE free.ctid >= first AND free.ctid < beyond
              AND free.claimed_by IS NULL
              AND (supervisor.blocked_by(switches, free.queue, free.kind, free.service, free.tenant, free.changes,
                                         free.essential) IS NOT NULL
                   OR supervisor.is_gated(switches, free.queue, free.kind, free.service, free.tenant))
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING job.*
    )
    INSERT INTO supervisor.jobs_waiting (
        id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
        interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
        reason, due_at, line
    )
    SELECT stopped.id, stopped.kind, stopped.queue, stopped.service, stopped.tenant, stopped.priority, stopped.run_at,
           stopped.created_at, stopped.args, stopped.unique_key, stopped.max_attempts, stopped.attempts,
           stopped.interruptions, stopped.losses, stopped.changes, stopped.essential, stopped.timeout_s,
           stopped.trace_parent, stopped.last_error, stopped.traceback, stopped.lock_version,
           CASE WHEN stop.switch IS NULL THEN 'limited' ELSE 'paused' END, 'infinity',
           coalesce(stop.switch, supervisor.gate_line(stopped.queue, stopped.kind, stopped.service, stopped.tenant,
                                                      stopped.args, stopped.lock_version > 0))
    FROM stopped,
         LATERAL (SELECT supervisor.blocked_by(switches, stopped.queue, stopped.kind, stopped.service, stopped.tenant,
                                               stopped.changes, stopped.essential)) AS stop (switch);
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF (from_block + blocks) * current_setting('block_size')::bigint < pg_relation_size('supervisor.jobs') THEN
        next_block := from_block + blocks;
    END IF;
END
$$;

-- The lines of paused jobs whose switch is on again.
CREATE FUNCTION supervisor.open_lines(switches supervisor.control) RETURNS SETOF text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    shut CONSTANT text[] := ARRAY['mode:' || switches.mode]
        || ARRAY(SELECT 'service:' || name FROM unnest(switches.off_services) AS off (name))
        || ARRAY(SELECT 'tenant:' || name FROM unnest(switches.off_tenants) AS off (name))
        || ARRAY(SELECT 'kind:' || name FROM unnest(switches.off_kinds) AS off (name));
BEGIN
    RETURN QUERY
    WITH RECURSIVE step AS (
        (SELECT job.line FROM supervisor.jobs_waiting AS job
         WHERE job.reason = 'paused' ORDER BY job.line LIMIT 1)
        UNION ALL
        SELECT following.line
        FROM step,
             LATERAL (SELECT job.line FROM supervisor.jobs_waiting AS job
                      WHERE job.reason = 'paused' AND job.line > step.line ORDER BY job.line LIMIT 1) AS following
    )
    SELECT step.line FROM step WHERE step.line <> ALL (shut);
END
$$;

-- The lines of a queue's gates whose jobs need no permit any more: its first job says so for all.
CREATE FUNCTION supervisor.ungated_lines(switches supervisor.control) RETURNS TABLE (queue text, line text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE step AS (
        (SELECT job.queue, job.line, job.kind, job.service, job.tenant FROM supervisor.jobs_waiting AS job
         WHERE job.reason = 'limited' ORDER BY job.queue, job.line LIMIT 1)
        UNION ALL
        SELECT following.*
        FROM step,
             LATERAL (SELECT job.queue, job.line, job.kind, job.service, job.tenant FROM supervisor.jobs_waiting AS job
                      WHERE job.reason = 'limited' AND (job.queue, job.line) > (step.queue, step.line)
                      ORDER BY job.queue, job.line LIMIT 1) AS following
    )
    SELECT step.queue, step.line FROM step
    WHERE NOT supervisor.is_gated(switches, step.queue, step.kind, step.service, step.tenant);
END
$$;

-- Move these locked rows of `jobs_waiting` back to `jobs`; what something else stops changes its line only.
-- Returns the queues into which something came.
CREATE FUNCTION supervisor.bring_back(switches supervisor.control, places tid[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    woken text[];
BEGIN
    IF supervisor.stops_any(switches) THEN
        WITH stops AS MATERIALIZED (
            SELECT waiting.ctid AS place,
                   CASE WHEN stop.switch IS NULL THEN 'limited' ELSE 'paused' END AS reason,
                   CASE WHEN stop.switch IS NOT NULL THEN stop.switch
                        WHEN supervisor.is_gated(switches, waiting.queue, waiting.kind, waiting.service, waiting.tenant)
                        THEN supervisor.gate_line(waiting.queue, waiting.kind, waiting.service, waiting.tenant,
                                                  waiting.args, waiting.lock_version > 0) END AS line
            FROM supervisor.jobs_waiting AS waiting,
                 LATERAL (SELECT supervisor.blocked_by(switches, waiting.queue, waiting.kind, waiting.service,
                                                       waiting.tenant, waiting.changes, waiting.essential)
                 ) AS stop (switch)
            WHERE waiting.ctid = ANY (places)
        ), stayed AS (
            UPDATE supervisor.jobs_waiting AS job SET reason = stops.reason, line = stops.line
            FROM stops WHERE job.ctid = stops.place AND stops.line IS NOT NULL
        )
        SELECT array_agg(stops.place) INTO places FROM stops WHERE stops.line IS NULL;
    END IF;
    WITH freed AS (
        DELETE FROM supervisor.jobs_waiting AS job WHERE job.ctid = ANY (places) RETURNING job.*
    ), ready AS (
        INSERT INTO supervisor.jobs (
            id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version
        )
        SELECT freed.id, freed.kind, freed.queue, freed.service, freed.tenant, freed.priority, freed.run_at,
               freed.created_at, freed.args, freed.unique_key, freed.max_attempts, freed.attempts, freed.interruptions,
               freed.losses, freed.changes, freed.essential, freed.timeout_s, freed.trace_parent, freed.last_error,
               freed.traceback, freed.lock_version
        FROM freed
        RETURNING jobs.queue
    )
    SELECT array_agg(DISTINCT ready.queue) INTO woken FROM ready;
    RETURN woken;
END
$$;

-- Bring back up to `most` jobs of lines that are open now: of each line as many, those first that are claimed
-- first. What something else stops changes its line only. With `gates`, also jobs behind gates that are no
-- more. `left_over`: there may be more.
CREATE FUNCTION supervisor.unpark(most integer, gates boolean, OUT moved bigint, OUT left_over boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    switches supervisor.control := supervisor.parking_switches();
    room     integer := greatest(coalesce(most, 0), 1);
    paused   text[] := ARRAY(SELECT open.line FROM supervisor.open_lines(switches) AS open (line) LIMIT room);
    queues   text[] := '{}';
    limited  text[] := '{}';
    share    integer;
    places   tid[];
    woken    text[] := '{}';
BEGIN
    moved := 0;
    IF gates THEN
        SELECT coalesce(array_agg(open.queue), '{}'), coalesce(array_agg(open.line), '{}') INTO queues, limited
        FROM (SELECT line.queue, line.line FROM supervisor.ungated_lines(switches) AS line LIMIT room) AS open;
    END IF;
    share := greatest(room / greatest(cardinality(paused) + cardinality(limited), 1), 1);
    left_over := cardinality(paused) + cardinality(limited) > room;
    FOR one IN 1..least(cardinality(paused) + cardinality(limited), room) LOOP
        IF one <= cardinality(paused) THEN
            places := ARRAY(
                SELECT waiting.ctid FROM supervisor.jobs_waiting AS waiting
                WHERE waiting.reason = 'paused' AND waiting.line = paused[one]
                ORDER BY waiting.priority, waiting.run_at, waiting.id LIMIT share FOR UPDATE SKIP LOCKED
            );
        ELSE
            places := ARRAY(
                SELECT waiting.ctid FROM supervisor.jobs_waiting AS waiting
                WHERE waiting.reason = 'limited' AND waiting.queue = queues[one - cardinality(paused)]
                  AND waiting.line = limited[one - cardinality(paused)]
                ORDER BY waiting.priority, waiting.run_at, waiting.id LIMIT share FOR UPDATE SKIP LOCKED
            );
        END IF;
        left_over := left_over OR cardinality(places) >= share;
        moved := moved + cardinality(places);
        woken := woken || supervisor.bring_back(switches, places);
    END LOOP;
    IF woken <> '{}' THEN
        PERFORM supervisor.wake(woken);
    END IF;
END
$$;
