-- Limits set and dropped by people, asked by those who enqueue, and explained to those who wait.

-- What a claim needs of the limits: which jobs wait behind gates. Each limit at start marks the narrowest single
-- thing that it is for. Also what makes up the lines behind the gates.
CREATE FUNCTION supervisor.recompute_gates() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines text;
BEGIN
    UPDATE supervisor.control
    SET gated_tenants = coalesce(gate.tenants, '{}'), gated_kinds = coalesce(gate.kinds, '{}'),
        gated_services = coalesce(gate.services, '{}'), gated_queues = coalesce(gate.queues, '{}'),
        gated_tenanted = coalesce(gate.tenanted, false), gated_all = coalesce(gate.every, false)
    FROM (
        SELECT array_agg(DISTINCT known.tenant) FILTER (WHERE known.tenant IS NOT NULL) AS tenants,
               array_agg(DISTINCT known.kind) FILTER (WHERE known.tenant IS NULL AND known.kind IS NOT NULL) AS kinds,
               array_agg(DISTINCT known.service) FILTER (
                   WHERE known.tenant IS NULL AND known.kind IS NULL AND known.service IS NOT NULL) AS services,
               array_agg(DISTINCT known.queue) FILTER (
                   WHERE known.tenant IS NULL AND known.kind IS NULL AND known.service IS NULL
                     AND known.queue IS NOT NULL) AS queues,
               bool_or(known.narrow AND 'tenant' = ANY (known.by)) AS tenanted,
               bool_or(known.narrow AND 'tenant' <> ALL (known.by)) AS every
        FROM (
            SELECT one.*, coalesce(one.tenant, one.kind, one.service, one.queue) IS NULL AS narrow
            FROM supervisor.limits AS one WHERE one.place = 'start'
        ) AS known
    ) AS gate;
    SELECT coalesce(jsonb_agg(part.shape ORDER BY part.shape), '[]')::text INTO lines
    FROM (
        SELECT DISTINCT jsonb_build_array(known.service, known.kind, known.queue, known.tenant, known.form = 'quota',
                                          ARRAY(SELECT path FROM unnest(known.by) AS path WHERE path LIKE 'args.%')) AS shape
        FROM supervisor.limits AS known
        WHERE known.place = 'start' AND (known.form = 'quota' OR known.by::text LIKE '%args.%')
    ) AS part;
    UPDATE supervisor.gate_shape AS shape
    SET shape = lines,
        done_id = CASE WHEN EXISTS (SELECT FROM supervisor.jobs_waiting AS job WHERE job.reason = 'limited') THEN 0 END
    WHERE shape.shape <> lines;
END
$$;

-- Reads a limit from its definition. Raises an error that names the field.
CREATE FUNCTION supervisor.limit_from_json(name text, definition jsonb) RETURNS supervisor.limits
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    types   CONSTANT jsonb := '{
        "form": "string", "place": "string", "amount": "number", "period_s": "number", "burst": "number",
        "unit": "string", "zone": "string", "service": "string", "kind": "string", "queue": "string",
        "tenant": "string", "by": "array", "shadow": "boolean", "on_spent": "string", "fallback": "string"}';
    limit_  supervisor.limits;
    problem text;
BEGIN
    IF jsonb_typeof(definition) IS DISTINCT FROM 'object' THEN
        problem := 'the definition must be an object';
    ELSE
        SELECT CASE WHEN types ? item.field THEN format('%s = %s: must be %s %s', item.field, left(item.value::text, 200),
                                                        CASE types ->> item.field WHEN 'array' THEN 'an' ELSE 'a' END,
                                                        types ->> item.field)
                    ELSE format('%s: is no field of a limit; there are %s', to_json(left(item.field, 200)),
                                (SELECT string_agg(known, ', ') FROM jsonb_object_keys(types) AS known)) END
        INTO problem
        FROM jsonb_each(definition) AS item (field, value)
        WHERE jsonb_typeof(item.value) IS DISTINCT FROM types ->> item.field AND (
            item.value <> 'null' OR NOT types ? item.field)
        LIMIT 1;
    END IF;
    IF problem IS NULL AND jsonb_path_exists(
        definition, 'strict $.by[*] ? (@.type() != "string")', silent => true) THEN
        problem := 'by: must be an array of strings';
    ELSIF problem IS NULL AND ((definition ->> 'burst')::numeric NOT BETWEEN 1 AND 2147483647
                               OR (definition ->> 'burst')::numeric % 1 <> 0) THEN
        problem := format('burst = %s: must be a whole number from 1 to 2147483647', definition ->> 'burst');
    END IF;
    IF problem IS NULL THEN
        BEGIN
            limit_ := jsonb_populate_record(NULL::supervisor.limits, definition);
        EXCEPTION WHEN data_exception THEN
            problem := SQLERRM;
        END;
    END IF;
    IF problem IS NULL THEN
        limit_.name := name;
        limit_.place := coalesce(limit_.place, 'start');
        limit_."by" := coalesce(limit_."by", '{}');
        limit_.shadow := coalesce(limit_.shadow, false);
        limit_.on_spent := coalesce(limit_.on_spent, 'wait');
        limit_.fallback := coalesce(limit_.fallback, 'closed');
        limit_.amount := round(limit_.amount, 6);
        problem := supervisor.limit_problem(limit_);
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'limit %: %', coalesce(name, 'null'), problem
            USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    END IF;
    RETURN limit_;
END
$$;

-- Turns on again what a limit has paused, since it is not spent any more, or another one.
CREATE FUNCTION supervisor.resume_spent(limit_name text, limit_id bigint) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    paused record;
BEGIN
    FOR paused IN SELECT held.scope, held.name FROM supervisor.switches AS held WHERE held.actor = 'limit:' || limit_name
    LOOP
        PERFORM supervisor.change_switch(
            scope => paused.scope, name => paused.name, value => 'false',
            reason => format('limit %s was changed', limit_name), actor => 'limit:' || limit_name);
    END LOOP;
    UPDATE supervisor.limit_states AS own SET spent_until = NULL, paused_until = NULL
    WHERE own.limit_id = limit_id AND (own.spent_until IS NOT NULL OR own.paused_until IS NOT NULL);
END
$$;

-- Makes a limit, or changes it; `definition` has its columns but the name, as JSON. Who changes how much, or for how
-- long, goes on with what is counted; who changes what is counted begins anew. What is set already is no change.
CREATE FUNCTION supervisor.set_limit(
    name text, definition jsonb, reason text, actor text, source text DEFAULT NULL, request_id text DEFAULT NULL,
    if_missing boolean DEFAULT false, dry_run boolean DEFAULT false
) RETURNS TABLE (epoch bigint, changed boolean, before jsonb, after jsonb) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted supervisor.limits := supervisor.limit_from_json(name, definition);
    former supervisor.limits;
BEGIN
    PERFORM supervisor.check_terms(reason, actor);
    IF coalesce(dry_run, false) THEN
        SELECT control.epoch INTO STRICT epoch FROM supervisor.control;
    ELSE
        epoch := (supervisor.open_change()).epoch;
    END IF;
    SELECT * INTO former FROM supervisor.limits AS known WHERE known.name = name;
    before := CASE WHEN former.id IS NOT NULL THEN supervisor.limit_as_json(former) END;
    after := supervisor.limit_as_json(wanted);
    changed := before IS DISTINCT FROM after AND NOT (former.id IS NOT NULL AND coalesce(if_missing, false));
    IF NOT changed THEN
        after := before;
    ELSIF NOT coalesce(dry_run, false) THEN
        IF former.id IS NULL AND (SELECT count(*) FROM supervisor.limits) >= 1000 THEN
            RAISE EXCEPTION 'there are 1000 limits already'
                USING ERRCODE = 'program_limit_exceeded', HINT = 'one limit can count for each tenant or key: see by';
        END IF;
        IF former.id IS NOT NULL THEN
            PERFORM supervisor.resume_spent(name, former.id);
        END IF;
        IF (former.form, former.place, former.service, former.kind, former.queue, former.tenant, former."by")
           IS DISTINCT FROM (wanted.form, wanted.place, wanted.service, wanted.kind, wanted.queue, wanted.tenant, wanted."by")
        THEN
            DELETE FROM supervisor.limits AS known WHERE known.name = name;
            INSERT INTO supervisor.limits AS made (
                name, form, place, amount, period_s, burst, unit, zone, service, kind, queue, tenant, by, shadow, on_spent,
                fallback, adopted
            ) VALUES (
                name, wanted.form, wanted.place, wanted.amount, wanted.period_s, wanted.burst, wanted.unit, wanted.zone,
                wanted.service, wanted.kind, wanted.queue, wanted.tenant, wanted."by", wanted.shadow, wanted.on_spent,
                wanted.fallback, wanted.form <> 'concurrency'
            );
        ELSE
            UPDATE supervisor.limits AS known
            SET amount = wanted.amount, period_s = wanted.period_s, burst = wanted.burst, unit = wanted.unit,
                zone = wanted.zone, shadow = wanted.shadow, on_spent = wanted.on_spent, fallback = wanted.fallback,
                updated_at = clock_timestamp()
            WHERE known.name = name;
        END IF;
        PERFORM supervisor.recompute_gates();
        epoch := supervisor.close_change();
        PERFORM supervisor.write_audit('set_limit', 'limit', name, actor, reason, before, after, true, source, request_id,
                                       epoch);
    END IF;
    RETURN NEXT;
END
$$;

-- Removes a limit; what waits for it may start.
CREATE FUNCTION supervisor.drop_limit(
    name text, reason text, actor text, source text DEFAULT NULL, request_id text DEFAULT NULL,
    dry_run boolean DEFAULT false
) RETURNS TABLE (epoch bigint, changed boolean, before jsonb, after jsonb) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    former supervisor.limits;
BEGIN
    PERFORM supervisor.check_terms(reason, actor);
    IF coalesce(dry_run, false) THEN
        SELECT control.epoch INTO STRICT epoch FROM supervisor.control;
    ELSE
        epoch := (supervisor.open_change()).epoch;
    END IF;
    SELECT * INTO former FROM supervisor.limits AS known WHERE known.name = name;
    changed := FOUND;
    before := CASE WHEN changed THEN supervisor.limit_as_json(former) END;
    IF changed AND NOT coalesce(dry_run, false) THEN
        PERFORM supervisor.resume_spent(name, former.id);
        DELETE FROM supervisor.limits AS known WHERE known.name = name;
        PERFORM supervisor.recompute_gates();
        epoch := supervisor.close_change();
        PERFORM supervisor.write_audit('drop_limit', 'limit', name, actor, reason, before, NULL, true, source, request_id,
                                       epoch);
    END IF;
    RETURN NEXT;
END
$$;

-- Every change says why, and whose it is.
CREATE FUNCTION supervisor.check_terms(reason text, actor text) RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(btrim(reason, E' \t\r\n'), '') = '' OR length(reason) > 1000 THEN
        RAISE EXCEPTION 'reason has % characters: say why, in up to 1000', coalesce(length(reason), 0)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    ELSIF coalesce(btrim(actor, E' \t\r\n'), '') = '' OR length(actor) > 256 THEN
        RAISE EXCEPTION 'actor has % characters: say who changes it, in up to 256', coalesce(length(actor), 0)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    END IF;
END
$$;

-- Gives a tenant a weight; returns whether it had another. 1 is that of tenants nobody has said anything of.
CREATE FUNCTION supervisor.set_weight(
    tenant text, weight double precision, reason text, actor text, source text DEFAULT NULL,
    request_id text DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    former real;
BEGIN
    PERFORM supervisor.check_terms(reason, actor);
    IF coalesce(length(tenant), 0) NOT BETWEEN 1 AND 128 OR tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'tenant = %: must be 1 to 128 printable characters', coalesce(to_json(left(tenant, 200))::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    ELSIF weight IS NULL OR NOT weight BETWEEN 0.01 AND 100 THEN
        RAISE EXCEPTION 'weight = %: must be from 0.01 to 100', coalesce(weight::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'nothing was changed';
    END IF;
    PERFORM supervisor.audit_lock();
    SELECT own.weight INTO former FROM supervisor.tenants AS own WHERE own.tenant = tenant;
    IF coalesce(former, 1) = weight::real THEN
        RETURN false;
    END IF;
    INSERT INTO supervisor.tenants AS own (tenant, weight) VALUES (tenant, weight)
    ON CONFLICT ON CONSTRAINT tenants_pkey DO UPDATE SET weight = excluded.weight, updated_at = clock_timestamp();
    DELETE FROM supervisor.tenants AS own WHERE own.tenant = tenant AND own.weight = 1;
    PERFORM supervisor.write_audit('set_weight', 'tenant', tenant, actor, reason, to_jsonb(coalesce(former, 1)),
                                   to_jsonb(weight), true, source, request_id);
    RETURN true;
END
$$;

-- How much is used of a limit for a key; without the key for those used last, up to `most`; without a name of all.
CREATE FUNCTION supervisor.limit_status(limit_name text, limit_key text DEFAULT NULL, most integer DEFAULT 1000)
RETURNS TABLE (
    name text, key text, form text, place text, shadow boolean, used double precision, reserved double precision,
    amount double precision, remaining double precision, reset_at timestamptz, granted bigint, held_back bigint,
    shadowed bigint
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        (SELECT known.id, coalesce(own.key, limit_key, '') AS key, own.updated_at
         FROM supervisor.limits AS known
         LEFT JOIN supervisor.limit_states AS own
                ON own.limit_id = known.id AND own.key = coalesce(limit_key, own.key)
         WHERE (limit_name IS NULL OR known.name = limit_name)
           AND (own.key IS NOT NULL OR limit_key IS NOT NULL OR known.by = '{}')
           AND (limit_key IS NULL OR limit_key = '' OR known.by <> '{}'))
        ORDER BY updated_at DESC NULLS LAST LIMIT greatest(coalesce(most, 0), 0)
    )
    SELECT known.name, asked.key, known.form, known.place, known.shadow, permits.used::double precision,
           CASE WHEN known.form IN ('quota', 'budget') THEN aside.count ELSE 0 END::double precision,
           known.amount::double precision, permits.free::double precision,
           CASE WHEN permits.reset_at < 'infinity' THEN permits.reset_at END, coalesce(own.granted, 0),
           coalesce(own.held_back, 0), coalesce(own.shadowed, 0)
    FROM asked
    JOIN supervisor.limits AS known ON known.id = asked.id
    LEFT JOIN supervisor.limit_states AS own ON own.limit_id = known.id AND own.key = asked.key,
    LATERAL (SELECT supervisor.limit_elsewhere(known, asked.key, at) AS count) AS aside,
    LATERAL supervisor.limit_permits(known, own, aside.count, at, 1) AS permits
    ORDER BY known.name, asked.key;
END
$$;

-- Takes the permits that some new jobs need to be enqueued, of each limit of that place for each key. Or raises, and
-- takes none: SV010 for a limit, SV011 for a queue that is full by what was measured last; the detail says as JSON
-- which and for how long. Waits for others who enqueue under the same key. Nulls: there are no such jobs.
CREATE FUNCTION supervisor.permit_enqueue(
    queues text[], kinds text[], services text[], tenants text[], payloads jsonb[]
) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    measured CONSTANT numeric := 5; -- seconds until queues are measured again
    full_    record;
    asked    record;
BEGIN
    SELECT * INTO full_ FROM supervisor.full_queues(queues) AS known LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'queue % is full: % jobs wait, and % may', full_.queue, full_.depth, full_.max_depth
            USING ERRCODE = 'SV011', HINT = format('try again in %s s', measured),
                  DETAIL = jsonb_build_object('queue', full_.queue, 'depth', full_.depth, 'retry_after', measured)::text;
    END IF;
    FOR asked IN
        SELECT need.limit_id, need.key, count(*) AS count
        FROM (
            SELECT known.id AS limit_id,
                   supervisor.limit_key(known.by, item.queue, item.kind, item.service, item.tenant, item.args) AS key
            FROM unnest(queues, kinds, services, tenants, payloads) AS item (queue, kind, service, tenant, args)
            JOIN supervisor.limits AS known ON known.place = 'enqueue'
             AND supervisor.limit_is_for(known, item.queue, item.kind, item.service, item.tenant)
        ) AS need
        GROUP BY need.limit_id, need.key ORDER BY need.limit_id, need.key
    LOOP
        PERFORM supervisor.take_for_enqueue(asked.limit_id, asked.key, asked.count);
    END LOOP;
    RETURN true;
END
$$;

-- Whether such jobs may be put into `jobs` by a client itself: no limit and no depth of the queue has a say.
CREATE FUNCTION supervisor.is_free(queue text, kind text, service text, tenant text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN NOT supervisor.is_gated(switches, queue, kind, service, tenant)
        AND NOT EXISTS (SELECT FROM supervisor.limits AS known
                        WHERE known.place = 'enqueue' AND supervisor.limit_is_for(known, queue, kind, service, tenant))
        AND NOT EXISTS (SELECT FROM supervisor.queue_settings AS own
                        WHERE own.queue = queue AND own.max_depth IS NOT NULL)
        FROM supervisor.control AS switches;
END
$$;

-- Takes so many permits of one limit and key, or raises SV010.
CREATE FUNCTION supervisor.take_for_enqueue(limit_id bigint, key text, most bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    limit_   supervisor.limits;
    state    supervisor.limit_states := supervisor.lock_limit(limit_id, key);
    at       timestamptz := clock_timestamp();
    permits  record;
    free     numeric;
    wait_s   numeric;
    for_whom text := coalesce(' for ' || nullif(key, ''), '');
BEGIN
    SELECT * INTO limit_ FROM supervisor.limits AS known WHERE known.id = limit_id;
    permits := supervisor.limit_permits(limit_, state, 0, at, most);
    free := least(floor(permits.free), most);
    IF free < most AND NOT limit_.shadow THEN
        IF permits.next_at = 'infinity' AND most > 1 THEN
            RAISE EXCEPTION 'limit % never lets % jobs in at once%', limit_.name, most, for_whom
                USING ERRCODE = 'invalid_parameter_value', HINT = 'enqueue fewer at a time';
        END IF;
        wait_s := ceil(extract(epoch FROM least(permits.next_at, at + interval '10 years') - at) * 1000) / 1000;
        RAISE EXCEPTION 'limit % forbids % now%: % of % are used', limit_.name,
            CASE most WHEN 1 THEN 'another job' ELSE most || ' more jobs' END, for_whom, permits.used,
            CASE limit_.form WHEN 'rate' THEN coalesce(limit_.burst, 1) ELSE trim_scale(limit_.amount) END
            USING ERRCODE = 'SV010', HINT = format('try again in %s s', trim_scale(wait_s)),
                  DETAIL = jsonb_build_object('limit', limit_.name, 'key', key, 'retry_after', wait_s)::text;
    END IF;
    state := supervisor.limit_taken(limit_, state, free, at);
    state.granted := state.granted + most;
    state.shadowed := state.shadowed + (most - free)::bigint;
    PERFORM supervisor.keep_limit(state);
END
$$;

-- Every switch that stops such a job, with who did it and until when.
CREATE FUNCTION supervisor.why_switched(
    queue text, kind text, service text, tenant text, changes boolean, essential boolean
) RETURNS TABLE (what text, key text, until timestamptz, detail text) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN QUERY
    SELECT 'switch', off.scope || coalesce(':' || nullif(off.name, ''), ''), held.expires_at,
           coalesce(format('%s, by %s', held.reason, held.actor), 'it is off')
    FROM supervisor.control AS now_
    CROSS JOIN LATERAL (VALUES
             (1, 'kill_switch', '', now_.killed),
             (2, 'mode', now_.mode, (now_.mode = 'observe_only' AND changes)
                                    OR (now_.mode = 'safe_mode' AND NOT essential)),
             (3, 'service', service, service = ANY (now_.off_services)),
             (4, 'tenant', tenant, tenant = ANY (now_.off_tenants)),
             (5, 'queue', queue, queue = ANY (now_.off_queues)),
             (6, 'kind', kind, kind = ANY (now_.off_kinds))
         ) AS off (place, scope, name, is_off)
    LEFT JOIN supervisor.switches AS held
           ON held.scope = off.scope AND held.name = CASE off.scope WHEN 'mode' THEN '' ELSE off.name END
    WHERE off.is_off ORDER BY off.place;
END
$$;

-- Every limit that has no permit for such a job to start, with when it may have one.
CREATE FUNCTION supervisor.why_limited(
    job bigint, queue text, kind text, service text, tenant text, args jsonb
) RETURNS TABLE (what text, key text, until timestamptz, detail text) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    SELECT 'limit', known.name || coalesce(' ' || nullif(counted.key, ''), ''), nullif(permits.next_at, 'infinity'),
           CASE WHEN NOT known.adopted THEN 'it counts what runs already'
                WHEN permits.next_at = 'infinity' THEN 'it lets nothing through'
                ELSE format(CASE known.form
                    WHEN 'window' THEN '%s of %s started within %s s'
                    WHEN 'rate' THEN '%s of %s at once, then one each %s s'
                    WHEN 'concurrency' THEN '%s of %s run'
                    ELSE '%s of %s are used this %s' END,
                    trim_scale(permits.used),
                    CASE known.form WHEN 'rate' THEN coalesce(known.burst, 1) ELSE trim_scale(known.amount) END,
                    CASE known.form
                        WHEN 'window' THEN known.period_s::text
                        WHEN 'rate' THEN round((known.period_s / known.amount::double precision)::numeric, 3)::text
                        ELSE known.unit END) END
    FROM supervisor.limits AS known
    CROSS JOIN LATERAL (SELECT supervisor.limit_key(known.by, queue, kind, service, tenant, args) AS key) AS counted
    LEFT JOIN supervisor.limit_states AS own ON own.limit_id = known.id AND own.key = counted.key
    CROSS JOIN LATERAL supervisor.limit_permits(known, own, supervisor.limit_elsewhere(known, counted.key, at), at, 1) AS permits
    WHERE known.place = 'start' AND NOT known.shadow AND permits.free < 1
      AND supervisor.limit_is_for(known, queue, kind, service, tenant)
      AND NOT EXISTS (SELECT FROM supervisor.reservations AS charged
                      WHERE known.form = 'quota' AND charged.limit_id = known.id AND charged.job_id = job
                        AND charged.name = '')
    ORDER BY known.name;
END
$$;

-- Who would run a job of this queue: nobody, nobody who is free, or whoever comes to it.
CREATE FUNCTION supervisor.why_not_yet(job bigint, queue text, tenant text, priority smallint, run_at timestamptz)
RETURNS TABLE (what text, key text, until timestamptz, detail text) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    most    CONSTANT bigint := 1000; -- to count
    serving bigint;
    free    bigint;
    before  bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE queue = ANY (own.idle_queues)) INTO serving, free
    FROM supervisor.workers AS own
    WHERE own.status IN ('STARTING', 'RUNNING') AND own.lease_expires_at > clock_timestamp()
      AND coalesce(own.metadata -> 'queues' ? queue, true);
    IF serving = 0 THEN
        RETURN QUERY SELECT 'no_worker', queue, NULL::timestamptz, 'no live worker serves this queue'::text;
        RETURN;
    END IF;
    SELECT count(*) INTO before FROM (
        (SELECT FROM supervisor.jobs AS other
         WHERE tenant IS NULL AND other.tenant IS NULL AND other.losses = 0 AND other.queue = queue
           AND other.claimed_by IS NULL AND (other.priority, other.run_at, other.id) < (priority, run_at, job)
         LIMIT most)
        UNION ALL
        (SELECT FROM supervisor.jobs AS other
         WHERE other.tenant = tenant AND other.tenant IS NOT NULL AND other.losses = 0 AND other.queue = queue
           AND other.claimed_by IS NULL AND (other.priority, other.run_at, other.id) < (priority, run_at, job)
         LIMIT most)
    ) AS found;
    RETURN QUERY
    SELECT CASE WHEN free = 0 THEN 'busy' ELSE 'turn' END, queue, NULL::timestamptz,
           format('%s; %s%s jobs%s are before it',
                  CASE WHEN free = 0 THEN format('all %s workers of the queue have work', serving)
                       ELSE 'nothing stands against it' END,
                  CASE WHEN before >= most THEN 'at least ' ELSE '' END, before,
                  CASE WHEN tenant IS NULL THEN '' ELSE ' of its tenant' END);
END
$$;

-- Every reason why a job does not run now. `until`: when that ends, if it is known.
CREATE FUNCTION supervisor.why(job bigint) RETURNS TABLE (what text, key text, until timestamptz, detail text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    live supervisor.jobs_waiting;
    past record;
BEGIN
    SELECT own.*, NULL, NULL, NULL INTO live FROM supervisor.jobs AS own WHERE own.id = job;
    IF NOT FOUND THEN
        SELECT * INTO live FROM supervisor.jobs_waiting AS own WHERE own.id = job;
    END IF;
    IF live.id IS NULL THEN
        SELECT * INTO past FROM supervisor.newest_end(job) AS ended;
        what := CASE WHEN past.job_id IS NULL THEN 'unknown' ELSE 'over' END;
        key := past.status;
        detail := coalesce('it ended as ' || past.status, 'there is no such job, neither live nor in the history');
        RETURN NEXT;
        RETURN;
    ELSIF live.claimed_by IS NOT NULL THEN
        RETURN QUERY SELECT 'running', live.claimed_by::text, live.deadline_at, format('it runs on worker %s', live.claimed_by);
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM supervisor.why_switched(live.queue, live.kind, live.service, live.tenant, live.changes,
                                                       live.essential);
    IF live.reason IN ('future', 'snoozed', 'retry') THEN
        RETURN QUERY SELECT live.reason, NULL::text, live.due_at, CASE live.reason
            WHEN 'future' THEN 'its time has not come'
            WHEN 'snoozed' THEN 'its handler wants it later'
            ELSE format('after attempt %s of %s', live.attempts, live.max_attempts) END;
    ELSIF live.reason = 'blocked' THEN
        RETURN QUERY SELECT 'blocked', begun.name, NULL::timestamptz,
                            'nobody knows how this step ended: find out, and resolve it'
        FROM supervisor.job_steps AS begun WHERE begun.job_id = job AND NOT begun.done;
    END IF;
    RETURN QUERY SELECT * FROM supervisor.why_limited(job, live.queue, live.kind, live.service, live.tenant, live.args);
    IF live.losses > 0 THEN
        RETURN QUERY SELECT 'suspect', NULL::text, NULL::timestamptz,
                            format('it was lost with a worker %s times, and runs apart from others', live.losses);
    END IF;
    IF live.reason IS NULL OR live.reason IN ('paused', 'limited') THEN
        RETURN QUERY SELECT * FROM supervisor.why_not_yet(job, live.queue, live.tenant, live.priority, live.run_at);
    END IF;
END
$$;
