-- Gates: jobs that need permits of limits to start wait in lines, and start from there already claimed.
--
-- A line has the jobs of one queue that need the same permits. A call of `claim_gated` takes some jobs of each of
-- some lines, and the next goes on behind them: so no line waits for another. The permits are taken in the
-- transaction of the claim. A pair of limit and key whose row another claim holds gives none this time; nobody
-- waits for anybody.

-- What makes up a line besides kind, service and tenant. Since that last changed, jobs up to `done_id` have been
-- looked at; see `reline`.
CREATE TABLE supervisor.gate_shape (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    shape   text NOT NULL DEFAULT '[]',
    done_id bigint  -- null: all
);

INSERT INTO supervisor.gate_shape DEFAULT VALUES;

-- Lines whose limits gave no permit, so that they are not asked again each time. Until `open_at`; or while as many
-- jobs as may run hold a lease of this limit and key. It holds for one epoch of the switches and limits.
CREATE TABLE supervisor.gate_lines (
    queue    text NOT NULL,
    line     text NOT NULL,
    epoch    bigint NOT NULL,
    open_at  timestamptz,
    limit_id bigint,
    key      text,
    PRIMARY KEY (queue, line)
) WITH (fillfactor = 70);

-- The line of such a job. `again`: it has been claimed before, so that a quota does not count it a second time.
CREATE FUNCTION supervisor.gate_line(
    queue text, kind text, service text, tenant text, args jsonb, again boolean DEFAULT false
) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    line    jsonb := jsonb_build_array(kind, service, tenant);
    paths   text[];
    counted boolean;
    parts   text;
BEGIN
    SELECT array_agg(DISTINCT part.path ORDER BY part.path) FILTER (WHERE part.path LIKE 'args.%'),
           coalesce(bool_or(known.form = 'quota'), false)
    INTO paths, counted
    FROM supervisor.limits AS known LEFT JOIN LATERAL unnest(known.by) AS part (path) ON true
    WHERE known.place = 'start' AND supervisor.limit_is_for(known, queue, kind, service, tenant);
    IF counted AND again THEN
        line := line || '"again"'::jsonb;
    END IF;
    IF paths IS NOT NULL THEN
        parts := supervisor.limit_key(paths, queue, kind, service, tenant, args);
        IF octet_length(parts) > 128 THEN
            parts := encode(sha256(convert_to(parts, 'UTF8')), 'hex');
        END IF;
        line := line || jsonb_build_array(paths, parts);
    END IF;
    RETURN line::text;
END
$$;

-- Jobs that run under a concurrency limit for a key.
CREATE FUNCTION supervisor.limit_running(limit_id bigint, key text) RETURNS bigint LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    RETURN (
        SELECT count(*)
        FROM supervisor.limit_leases AS lease
        JOIN supervisor.jobs AS job ON job.id = lease.job_id
        WHERE lease.limit_id = limit_id AND lease.key = key
          AND job.lock_version = lease.lock_version AND job.claimed_by IS NOT NULL
    );
END
$$;

-- What is reserved of a quota or budget for a key: by reservations that have not expired, and by those of runs that
-- live.
CREATE FUNCTION supervisor.limit_reserved(limit_id bigint, key text, at timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    RETURN coalesce((
        SELECT sum(kept.amount) FROM supervisor.reservations AS kept
        WHERE kept.limit_id = limit_id AND kept.key = key AND kept.held
          AND (kept.expires_at > at
               OR EXISTS (SELECT FROM supervisor.jobs AS job
                          WHERE job.id = kept.job_id AND job.lock_version = kept.lock_version
                            AND job.claimed_by IS NOT NULL))
    ), 0);
END
$$;

-- What of a limit is counted elsewhere than in its state.
CREATE FUNCTION supervisor.limit_elsewhere(limit_ supervisor.limits, key text, at timestamptz) RETURNS numeric
LANGUAGE sql STABLE
RETURN CASE (limit_).form
    WHEN 'concurrency' THEN supervisor.limit_running((limit_).id, key)::numeric
    WHEN 'quota' THEN supervisor.limit_reserved((limit_).id, key, at)
    WHEN 'budget' THEN supervisor.limit_reserved((limit_).id, key, at) END;

-- Lets a new concurrency limit know what runs already: what was claimed before it was made. It reads all of `jobs`
-- once. Until then the limit gives no permit. False: another is at it.
CREATE FUNCTION supervisor.adopt_running(limit_id bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    wanted supervisor.limits;
BEGIN
    SELECT * INTO wanted FROM supervisor.limits AS known
    WHERE known.id = limit_id AND NOT known.adopted FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO supervisor.limit_leases (limit_id, key, job_id, lock_version)
    SELECT wanted.id,
           supervisor.limit_key(wanted."by", running.queue, running.kind, running.service, running.tenant, running.args),
           running.id, running.lock_version
    FROM supervisor.jobs AS running
    WHERE running.claimed_by IS NOT NULL
      AND supervisor.limit_is_for(wanted, running.queue, running.kind, running.service, running.tenant)
    ON CONFLICT ON CONSTRAINT limit_leases_pkey DO UPDATE SET lock_version = excluded.lock_version;
    UPDATE supervisor.limits AS known SET adopted = true WHERE known.id = limit_id;
    RETURN true;
END
$$;

-- The lines of a queue that may have something to start, from behind `after_line` on: up to `most` of them, after
-- a look at up to `visits`. `go_on`: where the next look begins; null: these were the last. `wait_s`: when the
-- first of those that are shut may open, null if time alone opens none.
CREATE FUNCTION supervisor.gates_to_try(
    switches supervisor.control, from_queue text, kinds text[], most integer, visits integer, after_line text,
    least_losses integer, most_losses integer, OUT lines text[], OUT go_on text, OUT wait_s double precision
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_hashagg = off SET jit = off
AS $$
DECLARE
    again   CONSTANT double precision := 0.25; -- nobody says when a running job ends
    at      timestamptz := clock_timestamp();
    seen    integer := 0;
    visited record;
    who     jsonb;
BEGIN
    lines := '{}';
    after_line := coalesce(after_line, '');
    FOR visited IN
        WITH RECURSIVE step AS (
            (SELECT job.line FROM supervisor.jobs_waiting AS job
             WHERE most_losses = 0 AND job.reason = 'limited' AND job.queue = from_queue AND job.line > after_line
             ORDER BY job.line LIMIT 1)
            UNION ALL
            SELECT following.line
            FROM step,
                 LATERAL (SELECT job.line FROM supervisor.jobs_waiting AS job
                          WHERE job.reason = 'limited' AND job.queue = from_queue AND job.line > step.line
                          ORDER BY job.line LIMIT 1) AS following
        ), found AS (
            SELECT step.line FROM step
            UNION ALL
            (SELECT DISTINCT job.line FROM supervisor.jobs_waiting AS job
             WHERE most_losses > 0 AND job.reason = 'limited' AND job.losses > 0 AND job.queue = from_queue
               AND job.losses BETWEEN least_losses AND most_losses AND job.line > after_line
             ORDER BY job.line)
        )
        SELECT found.line, shut.open_at, shut.limit_id, shut.key
        FROM found
        LEFT JOIN supervisor.gate_lines AS shut
               ON shut.queue = from_queue AND shut.line = found.line AND shut.epoch = switches.epoch
    LOOP
        IF cardinality(lines) >= most OR seen >= visits THEN
            go_on := coalesce(go_on, after_line);
            RETURN;
        END IF;
        seen := seen + 1;
        go_on := visited.line;
        who := visited.line;
        CONTINUE WHEN who ->> 0 <> ALL (kinds)
            OR supervisor.blocked_by(switches, from_queue, who ->> 0, who ->> 1, who ->> 2, false, true) IS NOT NULL;
        IF visited.open_at > at THEN
            wait_s := least(wait_s, extract(epoch FROM visited.open_at - at)::double precision);
        ELSIF visited.limit_id IS NOT NULL
              AND supervisor.limit_running(visited.limit_id, visited.key)
                  >= (SELECT known.amount FROM supervisor.limits AS known WHERE known.id = visited.limit_id) THEN
            wait_s := least(wait_s, again);
        ELSE
            lines := lines || visited.line;
        END IF;
    END LOOP;
    go_on := NULL;
END
$$;

-- The first jobs of each of these lines, in turns: one of each line, then the next of each, more often of those
-- whose tenant has more weight. A row for each permit that one needs, or one with nulls; `pair` numbers the
-- pairs of limit and key from 1.
CREATE FUNCTION supervisor.gate_candidates(
    switches supervisor.control, from_queue text, lines text[], most integer, least_losses integer, most_losses integer
) RETURNS TABLE (id bigint, place integer, pair integer, limit_id bigint, key text, shadow boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    each_ CONSTANT double precision := most::double precision / greatest(cardinality(lines), 1);
BEGIN
    RETURN QUERY
    WITH turns AS MATERIALIZED (
        SELECT turn.line, turn.place::integer AS place, coalesce(own.weight, 1) AS weight,
               least(most, ceil(each_ * greatest(coalesce(own.weight, 1), 1)))::integer AS share
        FROM unnest(lines) WITH ORDINALITY AS turn (line, place)
        LEFT JOIN supervisor.tenants AS own ON own.tenant = turn.line::jsonb ->> 2
    ), first_jobs AS MATERIALIZED (
        SELECT turns.place, turns.weight, picked.*
        FROM turns,
             LATERAL (
                 SELECT waiting.id, waiting.kind, waiting.service, waiting.tenant, waiting.changes, waiting.essential,
                        waiting.lock_version,
                        row_number() OVER (ORDER BY waiting.priority, waiting.run_at, waiting.id) AS rank
                 FROM supervisor.jobs_waiting AS waiting
                 WHERE most_losses = 0 AND waiting.reason = 'limited' AND waiting.queue = from_queue
                   AND waiting.line = turns.line AND waiting.losses = 0
                 ORDER BY waiting.priority, waiting.run_at, waiting.id LIMIT turns.share
             ) AS picked
        UNION ALL
        SELECT turns.place, turns.weight, picked.*
        FROM turns,
             LATERAL (
                 SELECT waiting.id, waiting.kind, waiting.service, waiting.tenant, waiting.changes, waiting.essential,
                        waiting.lock_version,
                        row_number() OVER (ORDER BY waiting.losses, waiting.priority, waiting.run_at, waiting.id)
                 FROM supervisor.jobs_waiting AS waiting
                 WHERE most_losses > 0 AND waiting.reason = 'limited' AND waiting.queue = from_queue
                   AND waiting.line = turns.line AND waiting.losses > 0
                   AND waiting.losses BETWEEN least_losses AND most_losses
                 ORDER BY waiting.losses, waiting.priority, waiting.run_at, waiting.id LIMIT turns.share
             ) AS picked
    ), needed AS (
        SELECT candidate.id, candidate.place, candidate.rank / candidate.weight AS turn, known.id AS limit_id,
               known.shadow,
               CASE WHEN known.id IS NOT NULL THEN supervisor.limit_key(
                   known.by, from_queue, candidate.kind, candidate.service, candidate.tenant,
                   CASE WHEN known.by::text LIKE '%args.%' THEN
                       (SELECT whole.args FROM supervisor.jobs_waiting AS whole WHERE whole.id = candidate.id) END)
               END AS key
        FROM first_jobs AS candidate
        LEFT JOIN supervisor.limits AS known
               ON known.place = 'start'
              AND supervisor.limit_is_for(known, from_queue, candidate.kind, candidate.service, candidate.tenant)
              AND NOT (known.form = 'quota' AND candidate.lock_version > 0 AND EXISTS (
                  SELECT FROM supervisor.reservations AS charged
                  WHERE charged.limit_id = known.id AND charged.job_id = candidate.id AND charged.name = ''))
        WHERE supervisor.blocked_by(switches, from_queue, candidate.kind, candidate.service, candidate.tenant,
                                    candidate.changes, candidate.essential) IS NULL
    )
    SELECT needed.id, needed.place, (dense_rank() OVER (ORDER BY needed.limit_id NULLS LAST, needed.key))::integer,
           needed.limit_id, needed.key, needed.shadow
    FROM needed ORDER BY needed.turn, needed.place, needed.id, needed.limit_id;
END
$$;

-- Takes the rows of the pairs that lines need (line `places[n]` needs pair `needs[n]`), as far as nobody else has
-- them. First those that most lines need: who does not get one leaves the others of these lines alone, for the one
-- who did. Else claims that meet would each take a part, and none could start anything.
CREATE FUNCTION supervisor.lock_pairs(
    limits bigint[], keys text[], shadows boolean[], places integer[], needs integer[]
) RETURNS integer[] LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    locked integer[] := '{}';
    shut   integer[] := '{}'; -- lines that miss a pair
    wide   record;
BEGIN
    FOR wide IN
        SELECT need.pair, array_agg(DISTINCT need.place) AS places
        FROM unnest(needs, places) AS need (pair, place)
        GROUP BY need.pair HAVING keys[need.pair] = '' OR count(DISTINCT need.place) > 1
        ORDER BY count(DISTINCT need.place) DESC, need.pair
    LOOP
        CONTINUE WHEN wide.places <@ shut;
        PERFORM FROM supervisor.limit_states AS own
        WHERE own.limit_id = limits[wide.pair] AND own.key = keys[wide.pair] FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            locked := locked || wide.pair;
        ELSIF NOT shadows[wide.pair] THEN
            shut := shut || wide.places;
        END IF;
    END LOOP;
    RETURN locked || ARRAY(
        SELECT item.pair
        FROM (SELECT DISTINCT need.pair FROM unnest(needs, places) AS need (pair, place)
              WHERE need.place <> ALL (shut) AND need.pair <> ALL (locked)) AS item
        JOIN supervisor.limit_states AS own ON own.limit_id = limits[item.pair] AND own.key = keys[item.pair]
        FOR UPDATE OF own SKIP LOCKED
    );
END
$$;

-- Takes the rows of these pairs, see `lock_pairs`, and says how many permits each has now, up to `most`; the others
-- are `busy`.
CREATE FUNCTION supervisor.lock_permits(
    limits bigint[], keys text[], shadows boolean[], places integer[], needs integer[], most integer,
    OUT frees integer[], OUT busy boolean[], OUT at timestamptz
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    locked integer[];
    found  record;
BEGIN
    frees := array_fill(0, ARRAY[cardinality(limits)]);
    busy := array_fill(true, ARRAY[cardinality(limits)]);
    PERFORM supervisor.adopt_running(known.id) FROM supervisor.limits AS known
    WHERE known.id = ANY (limits) AND NOT known.adopted;
    -- Who inserts what another is just inserting would wait for its end, so that is asked first.
    INSERT INTO supervisor.limit_states (limit_id, key)
    SELECT item.limit_id, item.key FROM unnest(limits, keys) AS item (limit_id, key)
    WHERE NOT EXISTS (SELECT FROM supervisor.limit_states AS there
                      WHERE there.limit_id = item.limit_id AND there.key = item.key)
      AND pg_try_advisory_xact_lock('supervisor.limit_states'::regclass::oid::integer,
                                    hashtext(item.limit_id || ' ' || item.key))
    ON CONFLICT DO NOTHING;
    locked := supervisor.lock_pairs(limits, keys, shadows, places, needs);
    -- Each statement has a snapshot of its own: from here on it shows what all who held the rows before have done.
    at := clock_timestamp();
    DELETE FROM supervisor.limit_leases AS lease
    USING unnest(locked) AS mine (pair)
    WHERE lease.limit_id = limits[mine.pair] AND lease.key = keys[mine.pair]
      AND NOT EXISTS (SELECT FROM supervisor.jobs AS job
                      WHERE job.id = lease.job_id AND job.lock_version = lease.lock_version
                        AND job.claimed_by IS NOT NULL);
    FOR found IN
        SELECT mine.pair, (supervisor.limit_permits(known, own, supervisor.limit_elsewhere(known, own.key, at), at, 1)).free
        FROM unnest(locked) AS mine (pair)
        JOIN supervisor.limits AS known ON known.id = limits[mine.pair]
        JOIN supervisor.limit_states AS own ON own.limit_id = known.id AND own.key = keys[mine.pair]
    LOOP
        busy[found.pair] := false;
        frees[found.pair] := least(floor(found.free), most);
    END LOOP;
END
$$;

-- Starts these jobs, as far as they still wait, and takes what they need: `takers` and `takes` say which job takes
-- one permit of which pair. `missed` and `held`: how often each pair had none, for a shadow and else.
CREATE FUNCTION supervisor.start_gated(
    worker bigint, from_queue text, jobs bigint[], most_losses integer, at timestamptz, limits bigint[], keys text[],
    takers bigint[], takes integer[], held integer[], missed integer[]
) RETURNS TABLE (
    id bigint, lock_version integer, kind text, args jsonb, attempts smallint, max_attempts smallint, losses smallint,
    interruptions smallint, tenant text, deadline_at timestamptz, timeout_s real, trace_parent text, priority smallint,
    run_at timestamptz, service text, queue text, line text
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH freed AS (
        DELETE FROM supervisor.jobs_waiting AS job
        WHERE job.ctid = ANY (ARRAY(
            SELECT waiting.ctid FROM supervisor.jobs_waiting AS waiting
            WHERE waiting.id = ANY (jobs) AND waiting.reason = 'limited' AND waiting.queue = from_queue
              AND waiting.losses <= most_losses
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING job.*
    ), started AS (
        INSERT INTO supervisor.jobs (
            id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key, max_attempts, attempts,
            interruptions, losses, changes, essential, timeout_s, trace_parent, last_error, traceback, lock_version,
            claimed_by, claimed_at, deadline_at
        )
        SELECT freed.id, freed.kind, freed.queue, freed.service, freed.tenant, freed.priority, freed.run_at,
               freed.created_at, freed.args, freed.unique_key, freed.max_attempts, freed.attempts, freed.interruptions,
               freed.losses, freed.changes, freed.essential, freed.timeout_s, freed.trace_parent, freed.last_error,
               freed.traceback, freed.lock_version + 1, worker, at, at + make_interval(secs => freed.timeout_s)
        FROM freed
    ), taken AS MATERIALIZED (
        SELECT freed.id AS job_id, freed.lock_version + 1 AS lock_version, item.pair, known.form
        FROM freed
        JOIN unnest(takers, takes) AS item (job_id, pair) ON item.job_id = freed.id
        JOIN supervisor.limits AS known ON known.id = limits[item.pair]
    ), leased AS (
        INSERT INTO supervisor.limit_leases (limit_id, key, job_id, lock_version)
        SELECT limits[taken.pair], keys[taken.pair], taken.job_id, taken.lock_version
        FROM taken WHERE taken.form = 'concurrency'
        ON CONFLICT (limit_id, key, job_id) DO UPDATE SET lock_version = excluded.lock_version
    ), charged AS (
        INSERT INTO supervisor.reservations (limit_id, key, job_id, name, lock_version, amount, held, expires_at)
        SELECT limits[taken.pair], keys[taken.pair], taken.job_id, '', taken.lock_version, 1, false, at
        FROM taken WHERE taken.form = 'quota'
        ON CONFLICT DO NOTHING
    ), counted AS (
        SELECT item.pair, coalesce(sum.count, 0) AS count, item.held, item.missed
        FROM unnest(held, missed) WITH ORDINALITY AS item (held, missed, pair)
        LEFT JOIN (SELECT taken.pair, count(*) AS count FROM taken GROUP BY taken.pair) AS sum ON sum.pair = item.pair
    ), kept AS (
        UPDATE supervisor.limit_states AS own
        SET starts = fresh.starts, counts = fresh.counts, tat = fresh.tat, period_start = fresh.period_start,
            used = fresh.used, granted = own.granted + counted.count, held_back = own.held_back + counted.held,
            shadowed = own.shadowed + counted.missed, updated_at = at
        FROM counted, supervisor.limits AS known, supervisor.limit_states AS locked,
             LATERAL supervisor.limit_taken(known, locked, counted.count, at) AS fresh
        WHERE own.limit_id = limits[counted.pair] AND own.key = keys[counted.pair]
          AND locked.limit_id = limits[counted.pair] AND locked.key = keys[counted.pair]
          AND known.id = limits[counted.pair]
          AND (counted.count > 0 OR counted.missed > 0 OR (counted.held > 0 AND known.form <> 'concurrency'))
    )
    SELECT freed.id, freed.lock_version + 1, freed.kind, freed.args, freed.attempts, freed.max_attempts, freed.losses,
           freed.interruptions, freed.tenant, at + make_interval(secs => freed.timeout_s), freed.timeout_s::real,
           freed.trace_parent, freed.priority, freed.run_at::timestamptz, freed.service, freed.queue, freed.line
    FROM freed;
END
$$;

-- Remembers which lines are shut now and until when, and returns after how many seconds the first of them may
-- open. Line `places[n]` was held back for want of a permit of pair `pairs[n]`.
CREATE FUNCTION supervisor.shut_gates(
    from_queue text, epoch bigint, lines text[], places integer[], pairs integer[], limits bigint[], keys text[],
    at timestamptz
) RETURNS double precision LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    longest CONSTANT interval := '5 minutes'; -- that a line is not asked: the clock may have been put forward
    again   CONSTANT double precision := 0.25; -- nobody says when a running job ends
    first   double precision;
BEGIN
    WITH refused AS MATERIALIZED (
        SELECT DISTINCT item.place, item.pair FROM unnest(places, pairs) AS item (place, pair)
    ), spent AS MATERIALIZED (
        SELECT pair.number, known.id AS limit_id, own.key, known.form, known.on_spent,
               (supervisor.limit_permits(known, own, supervisor.limit_elsewhere(known, own.key, at), at, 1)).next_at
        FROM (SELECT DISTINCT refused.pair AS number FROM refused) AS pair
        JOIN supervisor.limits AS known ON known.id = limits[pair.number]
        JOIN supervisor.limit_states AS own ON own.limit_id = known.id AND own.key = keys[pair.number]
    ), pausing AS (
        UPDATE supervisor.limit_states AS own SET spent_until = spent.next_at
        FROM spent
        WHERE spent.on_spent = 'pause' AND own.limit_id = spent.limit_id AND own.key = spent.key
          AND spent.next_at > at AND own.spent_until IS DISTINCT FROM spent.next_at
          AND own.paused_until IS DISTINCT FROM spent.next_at
    ), shut AS MATERIALIZED (
        SELECT lines[refused.place] AS line,
               CASE WHEN max(spent.next_at) > at THEN least(max(spent.next_at), at + longest) END AS open_at,
               min(spent.limit_id) FILTER (WHERE spent.form = 'concurrency') AS limit_id,
               min(spent.key) FILTER (WHERE spent.form = 'concurrency') AS key,
               count(*) FILTER (WHERE spent.form = 'concurrency') AS running
        FROM refused JOIN spent ON spent.number = refused.pair
        GROUP BY refused.place
    ), noted AS (
        INSERT INTO supervisor.gate_lines AS known (queue, line, epoch, open_at, limit_id, key)
        SELECT from_queue, shut.line, epoch, shut.open_at, CASE WHEN shut.running = 1 THEN shut.limit_id END,
               CASE WHEN shut.running = 1 THEN shut.key END
        FROM shut ORDER BY shut.line
        ON CONFLICT ON CONSTRAINT gate_lines_pkey DO UPDATE
        SET epoch = excluded.epoch, open_at = excluded.open_at, limit_id = excluded.limit_id, key = excluded.key
    )
    SELECT min(CASE WHEN shut.open_at > at THEN extract(epoch FROM shut.open_at - at)::double precision ELSE again END)
    INTO first FROM shut;
    RETURN first;
END
$$;

-- As `claim`, for jobs of a queue that wait behind gates and have so many losses. `after_line`: where the last call
-- ended; null: from the first. The last row is no job: its `line` is where to go on, null where the last line was
-- seen; `wait_s` is after how many seconds the first of the lines that this call found shut may open, null if none
-- was, or time alone opens none of them.
CREATE FUNCTION supervisor.claim_gated(
    worker bigint, from_queue text, kinds text[], most integer, after_line text, least_losses integer DEFAULT 0,
    most_losses integer DEFAULT 0
) RETURNS TABLE (
    id bigint, lock_version integer, kind text, args jsonb, attempts smallint, max_attempts smallint, losses smallint,
    interruptions smallint, tenant text, deadline_at timestamptz, timeout_s real, trace_parent text, priority smallint,
    run_at timestamptz, service text, queue text, line text, wait_s double precision
) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    visits   CONSTANT integer := 256;
    busy_s   CONSTANT double precision := 0.02; -- another claim is at it
    room     integer := least(greatest(coalesce(most, 0), 0), 1000);
    fewest   integer := coalesce(least_losses, 0);
    largest  integer := coalesce(most_losses, 0);
    switches supervisor.control;
    gates    record;
    found    record;
    permits  record;
    count    integer := 0;       -- of candidates; each needs the pairs needs[firsts[n]] to needs[firsts[n + 1] - 1]
    ids      bigint[] := '{}';
    places   integer[] := '{}';
    firsts   integer[] := '{}';
    needs    integer[] := '{}';
    lines    integer[] := '{}';  -- the place of the line of each need
    limits   bigint[] := '{}';   -- of each pair
    keys     text[] := '{}';
    shadows  boolean[] := '{}';
    held     integer[];
    missed   integer[];
    chosen   bigint[] := '{}';
    takers   bigint[] := '{}';
    takes    integer[] := '{}';
    shut     integer[] := '{}';  -- places, and for want of which pair
    shut_by  integer[] := '{}';
    pair     integer;
    stopped  boolean;
    last     integer;
BEGIN
    switches := supervisor.open_claim(worker);
    IF room = 0 OR switches.killed OR from_queue = ANY (switches.off_queues) THEN
        RETURN NEXT;
        RETURN;
    END IF;
    gates := supervisor.gates_to_try(switches, from_queue, kinds, room, visits, after_line, fewest, largest);
    FOR found IN
        SELECT * FROM supervisor.gate_candidates(switches, from_queue, gates.lines, room, fewest, largest)
    LOOP
        IF count = 0 OR ids[count] <> found.id THEN
            count := count + 1;
            ids[count] := found.id;
            places[count] := found.place;
            firsts[count] := cardinality(needs) + 1;
        END IF;
        IF found.limit_id IS NOT NULL THEN
            needs := needs || found.pair;
            lines := lines || found.place;
            limits[found.pair] := found.limit_id;
            keys[found.pair] := found.key;
            shadows[found.pair] := found.shadow;
        END IF;
    END LOOP;
    firsts[count + 1] := cardinality(needs) + 1;
    permits := supervisor.lock_permits(limits, keys, shadows, lines, needs, room);
    held := array_fill(0, ARRAY[cardinality(limits)]);
    missed := held;

    FOR candidate IN 1..count LOOP
        EXIT WHEN cardinality(chosen) >= room;
        stopped := false;
        FOR need IN firsts[candidate]..firsts[candidate + 1] - 1 LOOP
            pair := needs[need];
            CONTINUE WHEN permits.frees[pair] > 0;
            IF permits.busy[pair] THEN -- its row is another's to change
                stopped := stopped OR NOT shadows[pair];
                gates.wait_s := least(gates.wait_s, busy_s);
            ELSIF shadows[pair] THEN
                missed[pair] := missed[pair] + 1;
            ELSE
                stopped := true;
                held[pair] := held[pair] + 1;
                shut := shut || places[candidate];
                shut_by := shut_by || pair;
            END IF;
        END LOOP;
        CONTINUE WHEN stopped;
        chosen := chosen || ids[candidate];
        last := places[candidate];
        FOR need IN firsts[candidate]..firsts[candidate + 1] - 1 LOOP
            pair := needs[need];
            IF permits.frees[pair] > 0 THEN
                permits.frees[pair] := permits.frees[pair] - 1;
                takers := takers || ids[candidate];
                takes := takes || pair;
            END IF;
        END LOOP;
    END LOOP;

    RETURN QUERY
    SELECT job.*, NULL::double precision
    FROM supervisor.start_gated(worker, from_queue, chosen, largest, permits.at, limits, keys, takers, takes, held,
                                missed) AS job;
    IF shut <> '{}' THEN
        gates.wait_s := least(gates.wait_s, supervisor.shut_gates(
            from_queue, switches.epoch, gates.lines, shut, shut_by, limits, keys, permits.at));
    END IF;
    id := NULL;
    line := CASE WHEN cardinality(chosen) >= room THEN gates.lines[last] ELSE gates.go_on END;
    wait_s := gates.wait_s;
    RETURN NEXT;
END
$$;

-- Puts up to `most` jobs that wait behind gates into the lines where they belong, after a limit began to count by
-- something else; without it they would only stand behind others that wait for other permits. Returns how many
-- were looked at; 0: there is nothing to do, or another is at it.
CREATE FUNCTION supervisor.reline(most integer) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    done bigint;
    ids  bigint[];
BEGIN
    SELECT shape.done_id INTO done FROM supervisor.gate_shape AS shape WHERE shape.done_id IS NOT NULL
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    ids := ARRAY(
        SELECT job.id FROM supervisor.jobs_waiting AS job WHERE job.id > done
        ORDER BY job.id LIMIT greatest(coalesce(most, 0), 1)
    );
    UPDATE supervisor.jobs_waiting AS job SET line = moved.line
    FROM (
        SELECT waiting.ctid AS place, supervisor.gate_line(waiting.queue, waiting.kind, waiting.service, waiting.tenant,
                                                           waiting.args, waiting.lock_version > 0) AS line
        FROM supervisor.jobs_waiting AS waiting
        WHERE waiting.id = ANY (ids) AND waiting.reason = 'limited' FOR UPDATE SKIP LOCKED
    ) AS moved
    WHERE job.ctid = moved.place AND job.line <> moved.line;
    UPDATE supervisor.gate_shape AS shape
    SET done_id = CASE WHEN cardinality(ids) < most THEN NULL ELSE ids[cardinality(ids)] END;
    RETURN cardinality(ids);
END
$$;
