-- Limits: how much may start, be enqueued or be spent, counted for each key.
--
-- What is counted stands in one row for each limit and key, which whoever takes permits holds locked until its
-- commit: so no two count at the same time, and a crash gives back what was not committed. Only the clock of the
-- database is used, and one that goes back costs permits and never gives any.

-- form: `window`, never more than `amount` in any `period_s` seconds; `rate`, evenly `amount` in each
-- `period_s`, up to `burst` at once; `concurrency`, so many at the same time; `quota`, so many in each unit of
-- the calendar; `budget`, the same of something that is measured, reserved before and settled after.
-- place: where it holds; a start waits, an enqueue is refused, a call is told when to come back.
-- `id` names what is counted: it changes when that does. BY is a reserved word of PL/pgSQL, so there it is quoted.
CREATE TABLE supervisor.limits (
    name       text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
    id         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    form       text NOT NULL CHECK (form IN ('window', 'rate', 'concurrency', 'quota', 'budget')),
    place      text NOT NULL CHECK (place IN ('start', 'enqueue', 'call')),
    amount     numeric NOT NULL CHECK (amount >= 0 AND amount <= 1000000000000),
    period_s   double precision CHECK (period_s >= 0.001 AND period_s <= 315360000),
    burst      integer CHECK (burst >= 1),
    unit       text CHECK (unit IN ('hour', 'day', 'week', 'month')),
    zone       text,
    service    text,
    kind       text,
    queue      text,
    tenant     text,
    "by"       text[] NOT NULL DEFAULT '{}',
    shadow     boolean NOT NULL DEFAULT false,  -- counts what it would hold back, and lets it through
    on_spent   text NOT NULL DEFAULT 'wait' CHECK (on_spent IN ('wait', 'pause')),
    fallback   text NOT NULL DEFAULT 'closed' CHECK (fallback IN ('closed', 'open')), -- calls, without the database
    adopted    boolean NOT NULL DEFAULT true,   -- concurrency: whether it knows what ran when it was made
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX limits_at_enqueue ON supervisor.limits (name) WHERE place = 'enqueue';

-- `starts` and `counts`: of a window, when the last of so many started, the oldest first. `tat`: of a rate, when
-- the next would come if they came evenly. `used`: of a quota or budget, in the period that began then.
CREATE TABLE supervisor.limit_states (
    limit_id     bigint NOT NULL,
    key          text NOT NULL,
    starts       timestamptz[] NOT NULL DEFAULT '{}',
    counts       integer[] NOT NULL DEFAULT '{}',
    tat          timestamptz,
    period_start timestamptz,
    used         numeric NOT NULL DEFAULT 0,
    granted      bigint NOT NULL DEFAULT 0,
    held_back    bigint NOT NULL DEFAULT 0,
    shadowed     bigint NOT NULL DEFAULT 0,
    spent_until  timestamptz,                   -- what it is for is to be paused until then
    paused_until timestamptz,                   -- and has been, once for each period
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (limit_id, key)
) WITH (fillfactor = 50);

CREATE INDEX limit_states_spent ON supervisor.limit_states (spent_until) WHERE spent_until IS NOT NULL;

-- Who runs under a concurrency limit. A row counts while its job is claimed with this lock_version, and for
-- nothing else: so a lost worker's jobs count until they are taken from it, and no release can be forgotten.
CREATE TABLE supervisor.limit_leases (
    limit_id     bigint NOT NULL,
    key          text NOT NULL,
    job_id       bigint NOT NULL,
    lock_version integer NOT NULL,
    PRIMARY KEY (limit_id, key, job_id)
);

-- What was taken of quotas and budgets in the name of a job: once for each name, however often it is retried.
-- `held`: reserved, and not settled yet.
CREATE TABLE supervisor.reservations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    limit_id     bigint NOT NULL,
    key          text NOT NULL,
    job_id       bigint,
    name         text NOT NULL,
    lock_version integer,
    amount       numeric NOT NULL,
    held         boolean NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL
);

CREATE UNIQUE INDEX reservations_of_job ON supervisor.reservations (limit_id, job_id, name) WHERE job_id IS NOT NULL;
CREATE INDEX reservations_expiring ON supervisor.reservations (expires_at);
CREATE INDEX reservations_held ON supervisor.reservations (limit_id, key) WHERE held;

-- A tenant with twice the weight gets twice the turns; without a row it is 1.
CREATE TABLE supervisor.tenants (
    tenant     text PRIMARY KEY,
    weight     real NOT NULL DEFAULT 1 CHECK (weight >= 0.01::real AND weight <= 100),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Whether a limit is for such a job. One that counts by tenant is not for jobs that have none.
CREATE FUNCTION supervisor.limit_is_for(
    limit_ supervisor.limits, queue text, kind text, service text, tenant text
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((limit_).kind IS NULL OR (limit_).kind = kind)
    AND ((limit_).service IS NULL OR (limit_).service = service)
    AND ((limit_).queue IS NULL OR (limit_).queue = queue)
    AND ((limit_).tenant IS NULL OR (limit_).tenant = tenant)
    AND (tenant IS NOT NULL OR 'tenant' <> ALL ((limit_).by));

-- The key under which a limit counts such a job: what it counts by, as text; several as JSON. What the arguments
-- lack counts as empty, so that nobody gets round a limit by leaving it out. Long ones are told by their hash.
CREATE FUNCTION supervisor.limit_key(by text[], queue text, kind text, service text, tenant text, args jsonb)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[] := '{}';
    part  text;
    found text;
BEGIN
    FOREACH part IN ARRAY by LOOP
        parts := parts || coalesce(CASE part
            WHEN 'tenant' THEN tenant WHEN 'kind' THEN kind WHEN 'queue' THEN queue WHEN 'service' THEN service
            ELSE args #>> string_to_array(substr(part, 6), '.') END, '');
    END LOOP;
    found := CASE cardinality(parts) WHEN 0 THEN '' WHEN 1 THEN parts[1] ELSE to_json(parts)::text END;
    IF length(found) > 256 THEN
        found := left(found, 100) || '…' || encode(sha256(convert_to(found, 'UTF8')), 'hex');
    END IF;
    RETURN found;
END
$$;

-- The turn of the calendar at or before a time, and the one after it.
CREATE FUNCTION supervisor.limit_period(limit_ supervisor.limits, at timestamptz, OUT begins timestamptz, OUT ends timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    zone text := coalesce(limit_.zone, 'UTC');
BEGIN
    begins := date_trunc(limit_.unit, at, zone);
    ends := CASE limit_.unit
        WHEN 'hour' THEN begins + interval '1 hour' -- not by the clock on the wall, which has one twice a year
        ELSE ((begins AT TIME ZONE zone) + ('1 ' || limit_.unit)::interval) AT TIME ZONE zone
    END;
END
$$;

-- How many permits a limit has for a key at a time, and if they are fewer than `wanted`, when there may be as many.
-- `taken` is what is counted elsewhere: running jobs of a concurrency limit, what is reserved of a quota or budget.
-- `next_at` is null where time alone gives none, and infinity if there are never as many. `reset_at`: when all of it
-- is free, null if it is or nobody knows.
CREATE FUNCTION supervisor.limit_permits(
    limit_ supervisor.limits, state supervisor.limit_states, taken numeric, at timestamptz, wanted numeric,
    OUT free numeric, OUT used numeric, OUT next_at timestamptz, OUT reset_at timestamptz
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    period interval := make_interval(secs => limit_.period_s);
    apart  double precision;
    slack  double precision;
    behind double precision;
    turn   record;
BEGIN
    CASE limit_.form
    WHEN 'window' THEN
        -- The time of the last start in a bucket stands for all of it: what counts too long is never too few.
        SELECT coalesce(sum(past.count), 0), max(least(past.start, at)) + period INTO used, reset_at
        FROM unnest(state.starts, state.counts) AS past (start, count) WHERE past.start >= at - period;
        free := greatest(floor(limit_.amount) - used, 0);
        IF floor(limit_.amount) < wanted THEN
            next_at := 'infinity';
        ELSIF free < wanted THEN
            SELECT min(past.start) + period + interval '1 microsecond' INTO next_at
            FROM (
                SELECT least(item.start, at) AS start,
                       sum(item.count) OVER (ORDER BY item.place DESC) - item.count AS later
                FROM unnest(state.starts, state.counts) WITH ORDINALITY AS item (start, count, place)
                WHERE item.start >= at - period
            ) AS past
            WHERE past.later <= floor(limit_.amount) - wanted;
        END IF;
    WHEN 'rate' THEN
        -- GCRA; ITU-T I.371. In any time t there are at most burst + t / apart.
        IF limit_.amount <= 0 THEN
            free := 0;
            used := 0;
            next_at := 'infinity';
            RETURN;
        END IF;
        apart := limit_.period_s / limit_.amount::double precision;
        slack := apart * coalesce(limit_.burst, 1);
        behind := least(greatest(coalesce(extract(epoch FROM state.tat - at)::double precision, 0), 0), slack);
        free := greatest(floor(((slack - behind) / apart + 0.000001)::numeric), 0);
        used := coalesce(limit_.burst, 1) - free;
        reset_at := CASE WHEN behind > 0 THEN at + make_interval(secs => behind) END;
        IF coalesce(limit_.burst, 1) < wanted THEN
            next_at := 'infinity';
        ELSIF free < wanted THEN
            next_at := at + make_interval(secs => greatest(behind - slack + apart * wanted::double precision, 0.000001));
        END IF;
    WHEN 'concurrency' THEN
        used := coalesce(taken, 0);
        free := CASE WHEN limit_.adopted THEN greatest(floor(limit_.amount) - used, 0) ELSE 0 END;
        IF floor(limit_.amount) < wanted THEN
            next_at := 'infinity';
        END IF;
    ELSE
        turn := supervisor.limit_period(limit_, at);
        used := CASE WHEN state.period_start >= turn.begins THEN state.used ELSE 0 END;
        free := greatest(limit_.amount - used - coalesce(taken, 0), 0);
        reset_at := turn.ends;
        IF limit_.amount < wanted THEN
            next_at := 'infinity';
        ELSIF free < wanted THEN
            next_at := turn.ends;
        END IF;
    END CASE;
END
$$;

-- The state after so many permits were taken.
CREATE FUNCTION supervisor.limit_taken(
    limit_ supervisor.limits, state supervisor.limit_states, most numeric, at timestamptz
) RETURNS supervisor.limit_states LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    exact  CONSTANT integer := 32;   -- up to so many starts each has an entry of its own
    period interval := make_interval(secs => limit_.period_s);
    apart  double precision;
    last   integer;
    begins timestamptz;
BEGIN
    state.updated_at := at;
    IF most <= 0 THEN
        RETURN state;
    END IF;
    CASE limit_.form
    WHEN 'window' THEN
        SELECT coalesce(array_agg(least(past.start, at) ORDER BY past.place), '{}'),
               coalesce(array_agg(past.count ORDER BY past.place), '{}')
        INTO state.starts, state.counts
        FROM unnest(state.starts, state.counts) WITH ORDINALITY AS past (start, count, place)
        WHERE past.start >= at - period;
        last := cardinality(state.starts);
        IF last > 0 AND (state.starts[last] = at OR (limit_.amount > exact
            AND floor(extract(epoch FROM state.starts[last]) * exact / limit_.period_s::numeric)
              = floor(extract(epoch FROM at) * exact / limit_.period_s::numeric))) THEN
            state.starts[last] := at;
            state.counts[last] := state.counts[last] + most::integer;
        ELSE
            state.starts := state.starts || at;
            state.counts := state.counts || most::integer;
        END IF;
    WHEN 'rate' THEN
        apart := limit_.period_s / limit_.amount::double precision;
        state.tat := greatest(least(coalesce(state.tat, at), at + make_interval(secs => apart * coalesce(limit_.burst, 1))), at)
                     + make_interval(secs => apart * most::double precision);
    WHEN 'concurrency' THEN
        NULL; -- counted from the leases
    ELSE
        begins := (supervisor.limit_period(limit_, at)).begins;
        IF state.period_start IS NULL OR state.period_start < begins THEN
            state.period_start := begins;
            state.used := 0;
        END IF;
        state.used := state.used + most;
    END CASE;
    RETURN state;
END
$$;

-- What is wrong with a limit, or null.
CREATE FUNCTION supervisor.limit_problem(limit_ supervisor.limits) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    calendar boolean := limit_.form IN ('quota', 'budget');
    timed    boolean := limit_.form IN ('window', 'rate');
    wrong    text;
BEGIN
    IF limit_.form IS NULL OR limit_.form NOT IN ('window', 'rate', 'concurrency', 'quota', 'budget') THEN
        RETURN format('form = %s: is one of window, rate, concurrency, quota, budget', to_json(limit_.form));
    ELSIF limit_.place IS NULL OR limit_.place NOT IN ('start', 'enqueue', 'call') THEN
        RETURN format('place = %s: is one of start, enqueue, call', to_json(limit_.place));
    ELSIF coalesce(length(limit_.name), 0) NOT BETWEEN 1 AND 128 OR limit_.name ~ '[\u0001-\u0020\u007f-\u00a0]' THEN
        RETURN format('name = %s: must be 1 to 128 printable characters without spaces', to_json(limit_.name));
    ELSIF limit_.amount IS NULL OR NOT limit_.amount BETWEEN 0 AND 1000000000000 THEN
        RETURN format('amount = %s: must be a number from 0 to 10^12', coalesce(limit_.amount::text, 'null'));
    ELSIF limit_.form <> 'budget' AND limit_.amount <> floor(limit_.amount) THEN
        RETURN format('amount = %s: must be a whole number; only a budget has fractions', limit_.amount);
    ELSIF limit_.form IN ('window', 'concurrency') AND limit_.amount > 1000000000 THEN
        RETURN format('amount = %s: may be 10^9 at most', limit_.amount);
    ELSIF timed <> (limit_.period_s IS NOT NULL) THEN
        RETURN format('period_s = %s: a window or rate has one, in seconds, and nothing else does',
                      coalesce(limit_.period_s::text, 'null'));
    ELSIF NOT limit_.period_s BETWEEN 0.001 AND 315360000 THEN
        RETURN format('period_s = %s: must be from 0.001 to 315360000 seconds (ten years)', limit_.period_s);
    ELSIF limit_.burst IS NOT NULL AND (limit_.form <> 'rate' OR limit_.burst < 1) THEN
        RETURN format('burst = %s: a rate has one, from 1, and nothing else does', limit_.burst);
    ELSIF calendar <> (limit_.unit IS NOT NULL) THEN
        RETURN format('unit = %s: a quota or budget has one, and nothing else does', to_json(limit_.unit));
    ELSIF limit_.unit NOT IN ('hour', 'day', 'week', 'month') THEN
        RETURN format('unit = %s: is one of hour, day, week, month', to_json(limit_.unit));
    ELSIF limit_.zone IS NOT NULL AND NOT calendar THEN
        RETURN format('zone = %s: a quota or budget has one, and nothing else does', to_json(limit_.zone));
    ELSIF limit_.zone IS NOT NULL AND limit_.zone <> 'UTC'
          AND NOT EXISTS (SELECT FROM pg_timezone_names AS known WHERE known.name = limit_.zone) THEN
        RETURN format('zone = %s: is no time zone, as Europe/Berlin is', to_json(limit_.zone));
    ELSIF limit_.form = 'budget' AND limit_.place <> 'call' THEN
        RETURN format('place = %s: what is spent is known to the handler, so a budget holds at call', limit_.place);
    ELSIF limit_.form = 'concurrency' AND limit_.place <> 'start' THEN
        RETURN format('place = %s: what runs is counted at its start', limit_.place);
    ELSIF limit_.fallback IS NULL OR limit_.fallback NOT IN ('closed', 'open') THEN
        RETURN format('fallback = %s: is closed or open', to_json(limit_.fallback));
    ELSIF limit_.fallback = 'open' AND limit_.place <> 'call' THEN
        RETURN 'fallback = open: is for place call; without the database nothing starts and nothing is enqueued';
    ELSIF cardinality(limit_."by") > 8 OR array_position(limit_."by", NULL) IS NOT NULL THEN
        RETURN 'by: may have 8 entries, none of them null';
    END IF;
    SELECT part INTO wrong FROM unnest(limit_."by") AS part
    WHERE part NOT IN ('tenant', 'kind', 'queue', 'service') AND part !~ '^args(\.[^.\s]{1,64}){1,8}$' LIMIT 1;
    IF FOUND THEN
        RETURN format('by has %s: is tenant, kind, queue, service, or a field of the arguments as args.customer',
                      to_json(wrong));
    ELSIF limit_.on_spent IS NULL OR limit_.on_spent NOT IN ('wait', 'pause') THEN
        RETURN format('on_spent = %s: is wait or pause', to_json(limit_.on_spent));
    ELSIF limit_.on_spent = 'pause' AND (NOT calendar OR limit_.place = 'enqueue' OR limit_.shadow) THEN
        RETURN 'on_spent = pause: is for quotas and budgets at start or call, and not for a shadow';
    ELSIF limit_.on_spent = 'pause' AND (supervisor.limit_scope(limit_, '')).scope IS NULL THEN
        RETURN 'on_spent = pause: needs one thing to pause: choose or count by one of service, tenant, queue, kind';
    END IF;
    RETURN NULL;
END
$$;

-- What a limit pauses when it is spent for a key: the one thing that it is for. Nulls if there are several.
CREATE FUNCTION supervisor.limit_scope(limit_ supervisor.limits, key text, OUT scope text, OUT name text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(part.scope), min(part.name) FROM (
        SELECT chosen.scope, chosen.name
        FROM (VALUES ('service', (limit_).service), ('tenant', (limit_).tenant), ('queue', (limit_).queue),
                     ('kind', (limit_).kind)) AS chosen (scope, name)
        WHERE chosen.name IS NOT NULL AND chosen.scope <> ALL ((limit_).by)
        UNION ALL
        SELECT counted.part, key FROM unnest((limit_).by) AS counted (part)
    ) AS part
    HAVING count(*) = 1 AND min(part.scope) IN ('service', 'tenant', 'queue', 'kind')
$$;

-- A limit as its definition is written.
CREATE FUNCTION supervisor.limit_as_json(limit_ supervisor.limits) RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(to_jsonb(limit_) - 'id' - 'adopted' - 'updated_at')
$$;
