-- The switches: who turned what off, for how long and why; and whether everybody has heard of it.

-- What is off now, and the mode if it is not normal. `name` is empty for the kill switch and the mode.
CREATE TABLE supervisor.switches (
    scope      text NOT NULL CHECK (scope IN ('kill_switch', 'mode', 'service', 'tenant', 'queue', 'kind')),
    name       text NOT NULL CHECK ((name = '') = (scope IN ('kill_switch', 'mode'))),
    value      jsonb NOT NULL,
    returns_to jsonb NOT NULL,             -- what it is when it has expired
    reason     text NOT NULL,
    actor      text NOT NULL,
    since      timestamptz NOT NULL,       -- when the value became what it is
    expires_at timestamptz,
    epoch      bigint NOT NULL,
    PRIMARY KEY (scope, name)
);

CREATE INDEX switches_expiring ON supervisor.switches (expires_at) WHERE expires_at IS NOT NULL;

-- What is wrong with a change, or null.
CREATE FUNCTION supervisor.switch_problem(
    scope text, name text, value jsonb, reason text, actor text, expires_at timestamptz
) RETURNS text LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN scope IS NULL OR scope NOT IN ('kill_switch', 'mode', 'service', 'tenant', 'queue', 'kind') THEN
            format('scope = %s: is one of kill_switch, mode, service, tenant, queue, kind', to_json(scope))
        WHEN scope IN ('kill_switch', 'mode') AND coalesce(name, '') <> '' THEN
            format('name = %s: there is only one %s, leave the name out', to_json(name), scope)
        WHEN scope NOT IN ('kill_switch', 'mode') AND coalesce(length(name), 0) NOT BETWEEN 1 AND 128 THEN
            format('name has %s characters: that of a %s has 1 to 128', coalesce(length(name), 0), scope)
        WHEN name ~ '[\u0001-\u001f\u007f-\u009f]' THEN
            format('name = %s: must be printable characters', to_json(name))
        WHEN scope = 'mode' AND (value IS NULL OR value NOT IN ('"normal"', '"observe_only"', '"safe_mode"')) THEN
            format('value = %s: a mode is "normal", "observe_only" or "safe_mode"', coalesce(value::text, 'null'))
        WHEN scope <> 'mode' AND (value IS NULL OR value NOT IN ('true', 'false')) THEN
            format('value = %s: must be true (it stops) or false (it runs)', coalesce(value::text, 'null'))
        WHEN coalesce(btrim(reason, E' \t\r\n'), '') = '' THEN
            'reason is empty: say why, for those who find it stopped'
        WHEN length(reason) > 1000 THEN
            format('reason has %s characters: it may have 1000', length(reason))
        WHEN coalesce(btrim(actor, E' \t\r\n'), '') = '' THEN
            'actor is empty: say who changes it'
        WHEN length(actor) > 256 THEN
            format('actor has %s characters: it may have 256', length(actor))
        WHEN expires_at IS NOT NULL AND value IN ('false', '"normal"') THEN
            format('expires_at = %s: what runs does not expire; leave it out', expires_at)
        WHEN NOT (expires_at > clock_timestamp() AND expires_at < '3000-01-01 00:00+00') THEN
            format('expires_at = %s: must be after now and before the year 3000', expires_at)
    END
$$;

-- Changes a switch. What is so already is no change, unless it is to expire at another time, or also to stop what
-- runs: `cancel_running` records that, and the workers and the caller do it with `revoke`. `if_epoch` refuses
-- with SV003 if anything was changed since. `dry_run` writes nothing and takes no lock: it estimates how many
-- waiting jobs would be stopped, and looks which run; `exact` says whether it saw all.
CREATE FUNCTION supervisor.change_switch(
    scope text, name text, value jsonb, reason text, actor text, source text DEFAULT NULL,
    request_id text DEFAULT NULL, cancel_running boolean DEFAULT false, expires_at timestamptz DEFAULT NULL,
    dry_run boolean DEFAULT false, if_epoch bigint DEFAULT NULL
) RETURNS TABLE (
    epoch bigint, changed boolean, before jsonb, after jsonb, stopped_waiting bigint, stopped_running bigint,
    exact boolean, running jsonb
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    problem  text := supervisor.switch_problem(scope, name, value, reason, actor, expires_at);
    switches supervisor.control;
    former   supervisor.switches;
    was      jsonb;
    moment   timestamptz;
    stops    boolean := value NOT IN ('false', '"normal"');
    cancels  boolean := coalesce(cancel_running, false) AND value NOT IN ('false', '"normal"');
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    END IF;
    name := coalesce(name, '');
    dry_run := coalesce(dry_run, false);
    IF dry_run THEN
        SELECT * INTO STRICT switches FROM supervisor.control;
    ELSE
        switches := supervisor.open_change(if_epoch);
    END IF;
    SELECT * INTO former FROM supervisor.switches AS held WHERE held.scope = scope AND held.name = name;
    was := supervisor.switch_value(switches, scope, name);
    moment := clock_timestamp();
    epoch := switches.epoch;
    changed := was <> value OR former.expires_at IS DISTINCT FROM expires_at OR cancels;
    before := supervisor.switch_state(was, former.since, former.reason, former.actor, former.expires_at);
    after := CASE WHEN NOT changed THEN before
                  ELSE supervisor.switch_state(value, CASE WHEN was = value THEN coalesce(former.since, moment)
                                                           ELSE moment END, reason, actor, expires_at)
                       || CASE WHEN cancels THEN '{"cancel_running": true}' ELSE '{}'::jsonb END END;
    IF dry_run THEN
        SELECT effect.waiting, effect.running, effect.exact, effect.sample
        INTO stopped_waiting, stopped_running, exact, running
        FROM supervisor.switch_effect(switches, scope, name, value) AS effect;
    ELSIF changed THEN
        switches := supervisor.switched(switches, scope, name, value);
        IF greatest(cardinality(switches.off_services), cardinality(switches.off_tenants),
                    cardinality(switches.off_queues), cardinality(switches.off_kinds)) > 10000 THEN
            RAISE EXCEPTION 'more than 10000 switches of scope % cannot be off', scope
                USING ERRCODE = 'program_limit_exceeded',
                      HINT = 'every claim reads them: use a service, a queue, a kind or the mode instead';
        END IF;
        UPDATE supervisor.control
        SET killed = switches.killed, mode = switches.mode, off_services = switches.off_services,
            off_tenants = switches.off_tenants, off_queues = switches.off_queues, off_kinds = switches.off_kinds;
        epoch := supervisor.close_change();
        DELETE FROM supervisor.switches AS held WHERE held.scope = scope AND held.name = name;
        IF stops THEN
            INSERT INTO supervisor.switches VALUES (
                scope, name, value,
                CASE WHEN scope <> 'mode' THEN 'false'
                     -- A mode for some time goes back to the one that had no end.
                     WHEN was = value OR former.expires_at IS NOT NULL THEN coalesce(former.returns_to, '"normal"')
                     ELSE was END,
                reason, actor, (after ->> 'since')::timestamptz, expires_at, epoch);
        END IF;
        IF cancels THEN
            DELETE FROM supervisor.revocations AS old WHERE old.done_at < moment - interval '1 day';
            INSERT INTO supervisor.revocations (epoch, scope, name, value, story, created_at)
            VALUES (epoch, scope, name, value,
                    format('stopped by %s: %s%s: %s', actor, scope, ' ' || nullif(name, ''), reason), moment);
        END IF;
        PERFORM supervisor.write_audit(
            CASE scope || ' ' || stops
                WHEN 'kill_switch true' THEN 'activate_kill_switch' WHEN 'kill_switch false' THEN 'deactivate_kill_switch'
                WHEN 'service true' THEN 'disable_service' WHEN 'service false' THEN 'enable_service'
                WHEN 'mode true' THEN 'set_mode' WHEN 'mode false' THEN 'set_mode'
                ELSE CASE WHEN stops THEN 'pause_' ELSE 'resume_' END || scope END,
            scope, nullif(name, ''), actor, reason, before, after, true, source, request_id, epoch);
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION supervisor.switch_state(
    value jsonb, since timestamptz, reason text, actor text, expires_at timestamptz
) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'value', value, 'since', since, 'reason', reason, 'actor', actor, 'expires_at', expires_at))
$$;

-- What a change would stop: waiting jobs that may start now, and running ones in its scope. It looks at 1000 blocks
-- of waiting jobs and at 20000 of `jobs` for running ones, and reckons from these to all.
CREATE FUNCTION supervisor.switch_effect(switches supervisor.control, scope text, name text, value jsonb)
RETURNS TABLE (waiting bigint, running bigint, exact boolean, sample jsonb) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    future  supervisor.control := supervisor.switched(switches, scope, name, value);
    only_it supervisor.control := supervisor.only_switch(scope, name, value);
    block   double precision := current_setting('block_size')::integer;
    here    double precision := greatest(pg_relation_size('supervisor.jobs'::regclass) / block, 1);
    there   double precision := greatest(pg_relation_size('supervisor.jobs_waiting'::regclass) / block, 1);
    most    CONSTANT double precision := 1000;
    most_running CONSTANT double precision := 20000;
    ready   double precision;
    later   double precision;
BEGIN
    SELECT count(*) * greatest(here / most, 1) INTO ready
    FROM supervisor.jobs AS job TABLESAMPLE SYSTEM (least(100.0, 100.0 * most / here))
    WHERE job.claimed_by IS NULL
      AND supervisor.blocked_by(switches, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential) IS NULL
      AND supervisor.blocked_by(future, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
          IS NOT NULL;
    SELECT count(*) * greatest(there / most, 1) INTO later
    FROM supervisor.jobs_waiting AS job TABLESAMPLE SYSTEM (least(100.0, 100.0 * most / there))
    WHERE supervisor.blocked_by(switches, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
          IS NULL
      AND supervisor.blocked_by(future, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
          IS NOT NULL;
    SELECT count(*) * greatest(here / most_running, 1),
           coalesce(jsonb_agg(jsonb_build_object(
               'id', found.id, 'kind', found.kind, 'queue', found.queue, 'service', found.service,
               'tenant', found.tenant, 'worker', found.claimed_by, 'claimed_at', found.claimed_at)
               ORDER BY found.id) FILTER (WHERE found.place <= 100), '[]')
    INTO running, sample
    FROM (
        SELECT job.*, row_number() OVER (ORDER BY job.id) AS place FROM supervisor.jobs AS job
        WHERE job.ctid < format('(%s,0)', most_running)::tid AND job.claimed_by IS NOT NULL
          AND supervisor.blocked_by(only_it, job.queue, job.kind, job.service, job.tenant, job.changes, job.essential)
              IS NOT NULL
    ) AS found;
    waiting := round(ready + later);
    exact := here <= most AND there <= most;
    RETURN NEXT;
END
$$;

-- Turns back what has expired, some of it; returns the epochs. Every host calls this, one at a time does it.
CREATE FUNCTION supervisor.expire_switches() RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due supervisor.switches;
BEGIN
    IF NOT EXISTS (SELECT FROM supervisor.switches AS over WHERE over.expires_at <= clock_timestamp())
       OR NOT pg_try_advisory_xact_lock('supervisor.switches'::regclass::oid::integer, 1) THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM supervisor.open_change();
    EXCEPTION WHEN SQLSTATE 'SV005' THEN
        RETURN; -- at the next look
    END;
    FOR due IN
        SELECT * FROM supervisor.switches AS over WHERE over.expires_at <= clock_timestamp()
        ORDER BY over.expires_at, over.scope, over.name LIMIT 20
    LOOP
        RETURN QUERY SELECT made.epoch FROM supervisor.change_switch(
            due.scope, due.name, due.returns_to, 'expired; it was: ' || left(due.reason, 900), 'expiry') AS made;
    END LOOP;
END
$$;

-- May such work be done now? The shared lock is held until the transaction ends, so what is done in the same
-- transaction is done before the switch is changed, which waits for it: keep it short.
CREATE FUNCTION supervisor.safety_check(
    service text, tenant text DEFAULT NULL, requires_changes boolean DEFAULT true, queue text DEFAULT NULL,
    kind text DEFAULT NULL, essential boolean DEFAULT false
) RETURNS TABLE (
    allowed boolean, reason text, global_kill_switch boolean, service_disabled boolean, website_paused boolean,
    observe_only_mode boolean, safe_mode boolean, why text, actor text, epoch bigint
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    switches supervisor.control;
BEGIN
    PERFORM supervisor.control_lock_shared();
    SELECT * INTO STRICT switches FROM supervisor.control;
    epoch := switches.epoch;
    reason := supervisor.blocked_by(switches, queue, kind, service, tenant, coalesce(requires_changes, true),
                                    coalesce(essential, false));
    allowed := reason IS NULL;
    global_kill_switch := switches.killed;
    service_disabled := coalesce(service = ANY (switches.off_services), false);
    website_paused := coalesce(tenant = ANY (switches.off_tenants), false);
    observe_only_mode := switches.mode = 'observe_only';
    safe_mode := switches.mode = 'safe_mode';
    SELECT held.reason, held.actor INTO why, actor FROM supervisor.switches AS held
    WHERE held.scope = split_part(reason, ':', 1)
      AND held.name = CASE WHEN held.scope IN ('kill_switch', 'mode') THEN ''
                           ELSE substr(reason, strpos(reason, ':') + 1) END;
    RETURN NEXT;
END
$$;

-- A worker has seen this epoch: its copy of the switches is as new, and it has cancelled what was revoked.
CREATE FUNCTION supervisor.confirm_epoch(worker bigint, epoch bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    UPDATE supervisor.workers AS own SET confirmed_epoch = epoch
    WHERE own.id = worker AND own.status IN ('STARTING', 'RUNNING', 'STOPPING') AND own.confirmed_epoch < epoch;
    RETURN FOUND;
END
$$;

-- The live workers that have not confirmed this epoch, or a later one.
CREATE FUNCTION supervisor.unconfirmed(epoch bigint)
RETURNS TABLE (worker bigint, name text, host text, confirmed_epoch bigint) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT own.id, own.name, own.host, own.confirmed_epoch FROM supervisor.workers AS own
    WHERE own.status IN ('STARTING', 'RUNNING', 'STOPPING') AND own.lease_expires_at > clock_timestamp()
      AND own.confirmed_epoch < unconfirmed.epoch
    ORDER BY own.id
$$;
