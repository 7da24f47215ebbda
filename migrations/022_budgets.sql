-- Quotas and budgets that handlers spend: reserved before, settled after, and given back by themselves if nobody does.
--
-- What is used and what is reserved together never exceed the amount, unless a handler settles more than it had
-- reserved, which is counted in full. A name is charged once for each job, however often the job is retried.

-- Takes the row of a limit and key, and waits for it.
CREATE FUNCTION supervisor.lock_limit(limit_id bigint, key text) RETURNS supervisor.limit_states
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    state supervisor.limit_states;
BEGIN
    LOOP
        SELECT * INTO state FROM supervisor.limit_states AS own
        WHERE own.limit_id = limit_id AND own.key = key FOR UPDATE;
        IF FOUND THEN
            RETURN state;
        END IF;
        INSERT INTO supervisor.limit_states (limit_id, key) VALUES (limit_id, key) ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;

CREATE FUNCTION supervisor.keep_limit(state supervisor.limit_states) RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.limit_states AS own
    SET starts = state.starts, counts = state.counts, tat = state.tat, period_start = state.period_start,
        used = state.used, granted = state.granted, held_back = state.held_back, shadowed = state.shadowed,
        spent_until = state.spent_until, updated_at = state.updated_at
    WHERE own.limit_id = state.limit_id AND own.key = state.key
$$;

-- Takes `amount` of a limit of place `call` for a job that runs; a null key is the one that the limit counts the job
-- under. Of a quota or budget it is reserved until `settle` or `refund`, or with `at_once` spent; a run that ended
-- without either gives it back after `ttl_s`. What was charged for this job and `name` before is not charged again.
-- `id` is null where there is nothing to settle. Not granted: nothing was taken; `retry_at` is when there may be enough.
-- `spent`: what the limit is for is to be paused, by `pause_spent`.
CREATE FUNCTION supervisor.reserve(
    limit_name text, key text, amount double precision, job bigint, lock_version integer, ttl_s double precision,
    name text DEFAULT NULL, at_once boolean DEFAULT false
) RETURNS TABLE (
    id bigint, granted boolean, retry_at timestamptz, retry_after double precision, spent boolean, charged_key text,
    is_open boolean
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    limit_  supervisor.limits;
    state   supervisor.limit_states;
    earlier supervisor.reservations;
    running supervisor.jobs;
    permits record;
    wanted  numeric := round(amount::numeric, 6);
    at      timestamptz;
    aside   numeric;
BEGIN
    SELECT * INTO limit_ FROM supervisor.limits AS known WHERE known.name = limit_name;
    IF NOT FOUND OR limit_.place <> 'call' THEN
        RAISE EXCEPTION 'no limit of place call is named %', coalesce(quote_literal(limit_name), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'declare it in App(limits=[...]), or set it with the command limits set';
    ELSIF amount IS NULL OR NOT amount BETWEEN 0 AND 1e12 THEN -- NaN is above it
        RAISE EXCEPTION 'amount = %: must be a number from 0 to 10^12', coalesce(amount::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF limit_.form IN ('window', 'rate') THEN
        wanted := ceil(wanted);
    END IF;
    is_open := limit_.fallback = 'open';
    spent := false;
    name := coalesce(name, limit_name);
    IF job IS NOT NULL THEN
        SELECT * INTO running FROM supervisor.jobs AS own
        WHERE own.id = job AND own.lock_version = lock_version AND own.claimed_by IS NOT NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'job % is no longer run with lock_version %', job, lock_version USING ERRCODE = 'SV001';
        END IF;
        IF NOT supervisor.limit_is_for(limit_, running.queue, running.kind, running.service, running.tenant) THEN
            granted := true;
            charged_key := '';
            RETURN NEXT;
            RETURN;
        END IF;
        key := coalesce(key, supervisor.limit_key(limit_."by", running.queue, running.kind, running.service,
                                                  running.tenant, running.args));
    END IF;
    charged_key := coalesce(key, '');
    state := supervisor.lock_limit(limit_.id, charged_key);
    at := clock_timestamp();
    aside := supervisor.limit_elsewhere(limit_, charged_key, at);
    IF job IS NOT NULL AND limit_.form IN ('quota', 'budget') THEN
        SELECT * INTO earlier FROM supervisor.reservations AS kept
        WHERE kept.limit_id = limit_.id AND kept.job_id = job AND kept.name = name;
        IF earlier.id IS NOT NULL AND NOT earlier.held THEN
            id := earlier.id;
            granted := true;
            RETURN NEXT;
            RETURN;
        ELSIF earlier.key = charged_key AND (earlier.expires_at > at OR earlier.lock_version = lock_version) THEN
            aside := aside - earlier.amount; -- an earlier run reserved it, or this one did: it is changed
        END IF;
    END IF;
    permits := supervisor.limit_permits(limit_, state, aside, at, wanted);
    granted := permits.free >= wanted OR limit_.shadow;
    IF NOT granted THEN
        state.held_back := state.held_back + 1;
        retry_at := nullif(permits.next_at, 'infinity');
        IF permits.used + wanted <= limit_.amount AND limit_.form IN ('quota', 'budget') THEN
            -- It is only reserved: some of it may come back before the period turns.
            retry_at := least(retry_at, (
                SELECT greatest(min(kept.expires_at), at + interval '1 s') FROM supervisor.reservations AS kept
                WHERE kept.limit_id = limit_.id AND kept.key = charged_key AND kept.held));
        ELSIF limit_.on_spent = 'pause' AND state.paused_until IS DISTINCT FROM permits.reset_at THEN
            state.spent_until := permits.reset_at;
            spent := true;
        END IF;
        retry_after := extract(epoch FROM retry_at - at)::double precision;
    ELSE
        state.granted := state.granted + 1;
        IF permits.free < wanted THEN
            state.shadowed := state.shadowed + 1;
            wanted := 0;
        END IF;
        IF limit_.form IN ('window', 'rate') OR at_once THEN
            state := supervisor.limit_taken(limit_, state, wanted, at);
            IF limit_.on_spent = 'pause' AND permits.used + wanted >= limit_.amount
               AND state.paused_until IS DISTINCT FROM permits.reset_at THEN
                state.spent_until := permits.reset_at;
                spent := true;
            END IF;
        END IF;
        IF limit_.form IN ('quota', 'budget') AND (job IS NOT NULL OR NOT at_once) THEN
            DELETE FROM supervisor.reservations AS kept WHERE kept.id = earlier.id;
            INSERT INTO supervisor.reservations AS made
                (limit_id, key, job_id, name, lock_version, amount, held, made_at, expires_at)
            VALUES (limit_.id, charged_key, job, name, lock_version, wanted, NOT at_once, at,
                    at + make_interval(secs => least(greatest(coalesce(ttl_s, 300), 1), 315360000)))
            RETURNING made.id INTO id;
        END IF;
    END IF;
    state.updated_at := at;
    PERFORM supervisor.keep_limit(state);
    RETURN NEXT;
END
$$;

-- What was reserved has cost so much, which is counted in full. `settled`: false, and nothing is counted, if it was
-- settled or refunded before, or was given back since its run is over. `spent` as for `reserve`.
CREATE FUNCTION supervisor.settle(reservation bigint, actual double precision, OUT settled boolean, OUT spent boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    limit_  supervisor.limits;
    state   supervisor.limit_states;
    permits record;
    kept    supervisor.reservations;
    at      timestamptz;
BEGIN
    IF actual IS NULL OR NOT actual BETWEEN 0 AND 1e12 THEN
        RAISE EXCEPTION 'actual = %: must be a number from 0 to 10^12', coalesce(actual::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    settled := false;
    spent := false;
    SELECT * INTO kept FROM supervisor.reservations AS own WHERE own.id = reservation;
    IF NOT FOUND OR NOT kept.held THEN
        RETURN;
    END IF;
    state := supervisor.lock_limit(kept.limit_id, kept.key);
    at := clock_timestamp();
    UPDATE supervisor.reservations AS own
    SET held = false, amount = round(actual::numeric, 6), expires_at = at + interval '1 day'
    WHERE own.id = reservation AND own.held;
    settled := FOUND;
    SELECT * INTO limit_ FROM supervisor.limits AS known WHERE known.id = kept.limit_id;
    IF settled AND FOUND THEN
        state := supervisor.limit_taken(limit_, state, round(actual::numeric, 6), at);
        permits := supervisor.limit_permits(limit_, state, 0, at, 0);
        IF limit_.on_spent = 'pause' AND permits.used >= limit_.amount
           AND state.paused_until IS DISTINCT FROM permits.reset_at THEN
            state.spent_until := permits.reset_at;
            spent := true;
        END IF;
        PERFORM supervisor.keep_limit(state);
    END IF;
END
$$;

-- Gives back what was reserved; false if it is settled, or gone.
CREATE FUNCTION supervisor.refund(reservation bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM supervisor.reservations AS kept WHERE kept.id = reservation AND kept.held;
    RETURN FOUND;
END
$$;

-- Pauses what a spent limit is for, until its period turns, when it goes on by itself; once for each period, so that
-- whoever turns it on again is obeyed. What is off already stays as it is. Returns whether it did.
CREATE FUNCTION supervisor.pause_spent(limit_id bigint, key text) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    limit_ supervisor.limits;
    state  supervisor.limit_states;
    wanted record;
BEGIN
    SELECT * INTO limit_ FROM supervisor.limits AS known WHERE known.id = limit_id AND known.on_spent = 'pause';
    SELECT * INTO state FROM supervisor.limit_states AS own
    WHERE own.limit_id = limit_id AND own.key = key AND own.spent_until IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    wanted := supervisor.limit_scope(limit_, key);
    IF limit_.id IS NULL OR wanted.scope IS NULL OR state.spent_until <= clock_timestamp() + interval '1 s'
       OR coalesce(wanted.name, '') = '' THEN
        UPDATE supervisor.limit_states AS own SET spent_until = NULL WHERE own.limit_id = limit_id AND own.key = key;
        RETURN false;
    ELSIF EXISTS (SELECT FROM supervisor.switches AS held WHERE held.scope = wanted.scope AND held.name = wanted.name) THEN
        RETURN false; -- looked at again, as long as the limit is spent
    END IF;
    UPDATE supervisor.limit_states AS own SET paused_until = state.spent_until, spent_until = NULL
    WHERE own.limit_id = limit_id AND own.key = key;
    PERFORM supervisor.change_switch(
        scope => wanted.scope, name => wanted.name, value => 'true',
        reason => format('limit %s is spent until %s', limit_.name,
                         to_char(state.spent_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')),
        actor => 'limit:' || limit_.name, expires_at => state.spent_until);
    RETURN true;
END
$$;

-- Every few seconds, by any host: pauses what is spent, gives back what was reserved by runs that are over, and
-- forgets leases of those. Of each up to `most`; returns how much was done.
CREATE FUNCTION supervisor.tidy_limits(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    done  integer := 0;
    more  integer;
    at    timestamptz := clock_timestamp();
    spent record;
BEGIN
    FOR spent IN
        SELECT own.limit_id, own.key FROM supervisor.limit_states AS own
        WHERE own.spent_until IS NOT NULL ORDER BY own.spent_until LIMIT 10 FOR UPDATE SKIP LOCKED
    LOOP
        done := done + supervisor.pause_spent(spent.limit_id, spent.key)::integer;
    END LOOP;
    WITH late AS MATERIALIZED (
        SELECT kept.ctid AS place, kept.held,
               EXISTS (SELECT FROM supervisor.jobs AS job
                       WHERE job.id = kept.job_id
                         AND (NOT kept.held OR (job.lock_version = kept.lock_version AND job.claimed_by IS NOT NULL)))
               OR (NOT kept.held
                   AND EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.id = kept.job_id)) AS is_live
        FROM supervisor.reservations AS kept WHERE kept.expires_at <= at
        ORDER BY kept.expires_at LIMIT most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM supervisor.reservations AS kept USING late WHERE kept.ctid = late.place AND NOT late.is_live
        RETURNING 1
    ), stayed AS (
        UPDATE supervisor.reservations AS kept
        SET expires_at = at + CASE WHEN kept.held THEN interval '10 s' ELSE interval '1 day' END
        FROM late WHERE kept.ctid = late.place AND late.is_live
    )
    SELECT count(*) INTO more FROM gone;
    done := done + more;
    DELETE FROM supervisor.limit_leases AS lease
    WHERE lease.ctid = ANY (ARRAY(
        SELECT dead.ctid FROM supervisor.limit_leases AS dead
        WHERE NOT EXISTS (SELECT FROM supervisor.jobs AS job
                          WHERE job.id = dead.job_id AND job.lock_version = dead.lock_version
                            AND job.claimed_by IS NOT NULL)
        LIMIT most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS more = ROW_COUNT;
    RETURN done + more;
END
$$;

-- Every hour: forgets what counts nothing any more, up to `most` rows of each sort.
CREATE FUNCTION supervisor.prune_limits(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    done integer;
    more integer;
BEGIN
    DELETE FROM supervisor.limit_states AS own
    WHERE own.ctid = ANY (ARRAY(
        SELECT idle.ctid
        FROM supervisor.limit_states AS idle LEFT JOIN supervisor.limits AS known ON known.id = idle.limit_id
        WHERE known.id IS NULL
           OR (idle.updated_at < clock_timestamp() - interval '1 day'
               AND idle.updated_at < clock_timestamp() - make_interval(secs => coalesce(known.period_s, 0))
               AND coalesce(idle.tat <= clock_timestamp(), true)
               AND (known.unit IS NULL OR coalesce(
                   idle.period_start < (supervisor.limit_period(known, clock_timestamp())).begins, true)))
        LIMIT most FOR UPDATE OF idle SKIP LOCKED
    ));
    GET DIAGNOSTICS done = ROW_COUNT;
    DELETE FROM supervisor.gate_lines AS shut
    WHERE shut.ctid = ANY (ARRAY(
        SELECT past.ctid FROM supervisor.gate_lines AS past
        WHERE past.epoch < (SELECT control.epoch FROM supervisor.control)
           OR (past.open_at < clock_timestamp() AND past.limit_id IS NULL)
        LIMIT most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS more = ROW_COUNT;
    RETURN done + more;
END
$$;
