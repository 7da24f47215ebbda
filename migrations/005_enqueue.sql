-- Putting jobs in. A job that may run at once goes straight into `jobs`; one that needs a permit of a limit for it,
-- behind its gate. A limit, or a queue that is full, can forbid it (SV010, SV011): then nothing is put in.
--
-- Every function names its schema and fixes its search_path, so that a caller's path can neither break
-- nor bend it.

-- Wakes the workers that sleep on these queues, if there are any: a NOTIFY takes one lock for the
-- whole cluster at commit, so a busy queue must not send it. Polling alone is always correct.
CREATE FUNCTION supervisor.wake(queues text[]) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asleep text;
BEGIN
    FOR asleep IN
        SELECT DISTINCT idle.queue
        FROM supervisor.workers AS worker, unnest(worker.idle_queues) AS idle (queue)
        WHERE worker.status IN ('STARTING', 'RUNNING', 'STOPPING') AND idle.queue = ANY (queues)
    LOOP
        PERFORM pg_notify('supervisor', asleep);
    END LOOP;
END
$$;

-- Whether any job waits behind a gate.
CREATE FUNCTION supervisor.has_gates(switches supervisor.control) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (switches).gated_all OR (switches).gated_tenanted OR (switches).gated_tenants <> '{}'
    OR (switches).gated_kinds <> '{}' OR (switches).gated_services <> '{}' OR (switches).gated_queues <> '{}';

-- The one way in. Arrays have one element for each job; a null element means the kind's default.
-- Returns the ids in order; `created` is false where a live job with the same unique key stands for it.
-- Keys are locked in their own order, as everywhere, so that two batches never wait for each other; so are limits.
CREATE FUNCTION supervisor.enqueue_many(
    kinds         text[],
    payloads      jsonb[],
    queues        text[] DEFAULT NULL,
    priorities    smallint[] DEFAULT NULL,
    run_ats       timestamptz[] DEFAULT NULL,
    tenants       text[] DEFAULT NULL,
    unique_keys   text[] DEFAULT NULL,
    attempt_limits smallint[] DEFAULT NULL,
    trace_parents text[] DEFAULT NULL
) RETURNS TABLE (id bigint, created boolean) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at_once timestamptz := clock_timestamp();
    most    integer := cardinality(kinds);
    unknown text;
    wrong   record;
    woken   text[];
    gates   boolean;
    asked   boolean;
    switches supervisor.control;
BEGIN
    IF kinds IS NULL OR payloads IS NULL OR most <> ANY (ARRAY[
        cardinality(payloads), coalesce(cardinality(queues), most), coalesce(cardinality(priorities), most),
        coalesce(cardinality(run_ats), most), coalesce(cardinality(tenants), most),
        coalesce(cardinality(unique_keys), most), coalesce(cardinality(attempt_limits), most),
        coalesce(cardinality(trace_parents), most)
    ]) THEN
        RAISE EXCEPTION 'enqueue_many needs kinds and payloads, and arrays of one length, here %', coalesce(most, 0)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'give every array one element for each job, or leave it out';
    END IF;
    SELECT given.kind INTO unknown FROM unnest(kinds) AS given (kind)
    WHERE NOT EXISTS (SELECT FROM supervisor.job_kinds AS known WHERE known.kind = given.kind) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'no worker has ever offered jobs of kind %', coalesce(quote_literal(unknown), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'start a worker whose App lists this kind once, or correct the name';
    END IF;

    SELECT item.ordinality, found.problem INTO wrong
    FROM unnest(payloads, queues, priorities, run_ats, tenants, unique_keys, attempt_limits, trace_parents)
         WITH ORDINALITY AS item (args, queue, priority, run_at, tenant, unique_key, max_attempts, trace_parent,
                                  ordinality),
         LATERAL (SELECT supervisor.job_problem(
             item.args, item.queue, item.priority, item.run_at, item.tenant, item.unique_key, item.max_attempts,
             item.trace_parent)) AS found (problem)
    WHERE found.problem IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % of %: %', wrong.ordinality, most, wrong.problem
            USING ERRCODE = 'invalid_parameter_value', HINT = 'none of the batch was enqueued';
    END IF;
    SELECT * INTO STRICT switches FROM supervisor.control;
    gates := supervisor.has_gates(switches);
    asked := EXISTS (SELECT FROM supervisor.limits AS known WHERE known.place = 'enqueue')
             OR EXISTS (SELECT FROM supervisor.queue_settings AS known WHERE known.max_depth IS NOT NULL);

    RETURN QUERY
    WITH described AS (
        SELECT item.ordinality, item.kind, coalesce(item.args, '{}') AS args,
               coalesce(item.queue, known.queue) AS queue, known.service, item.tenant,
               coalesce(item.priority, 0::smallint) AS priority, coalesce(item.run_at, at_once) AS run_at,
               item.unique_key, coalesce(item.max_attempts, known.max_attempts) AS max_attempts,
               known.timeout_s, known.changes, known.essential, item.trace_parent
        FROM unnest(kinds, payloads, queues, priorities, run_ats, tenants, unique_keys, attempt_limits, trace_parents)
             WITH ORDINALITY AS item (kind, args, queue, priority, run_at, tenant, unique_key, max_attempts,
                                      trace_parent, ordinality)
        JOIN supervisor.job_kinds AS known ON known.kind = item.kind
        ORDER BY item.ordinality
    ), given AS MATERIALIZED (
        -- Numbered after the sort: jobs of one batch run in the order in which they were given.
        SELECT nextval('supervisor.job_ids') AS id, described.* FROM described
    ), first_of_key AS MATERIALIZED (
        SELECT DISTINCT ON (given.unique_key) given.unique_key, given.id
        FROM given WHERE given.unique_key IS NOT NULL ORDER BY given.unique_key, given.ordinality
    ), keyed AS (
        -- An update, not DO NOTHING: the caller must not be told "it exists" by a commit that writes
        -- nothing, and so waits for no standby.
        INSERT INTO supervisor.job_keys AS held (unique_key, job_id)
        SELECT first_of_key.unique_key, first_of_key.id FROM first_of_key ORDER BY first_of_key.unique_key
        ON CONFLICT (unique_key) DO UPDATE SET touched_at = clock_timestamp()
        RETURNING held.unique_key, held.job_id
    ), decided AS MATERIALIZED (
        SELECT given.*, coalesce(keyed.job_id, given.id) AS final_id,
               keyed.job_id IS NULL OR keyed.job_id = given.id AS is_new,
               given.run_at > at_once AS is_later,
               gates AND supervisor.is_gated(switches, given.queue, given.kind, given.service, given.tenant) AS is_gated
        FROM given LEFT JOIN keyed ON keyed.unique_key = given.unique_key
    ), ready AS (
        INSERT INTO supervisor.jobs (id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key,
                                     max_attempts, changes, essential, timeout_s, trace_parent)
        SELECT decided.id, decided.kind, decided.queue, decided.service, decided.tenant, decided.priority, decided.run_at,
               at_once, decided.args, decided.unique_key, decided.max_attempts, decided.changes, decided.essential,
               decided.timeout_s, decided.trace_parent
        FROM decided WHERE decided.is_new AND NOT decided.is_later AND NOT decided.is_gated
    ), later AS (
        INSERT INTO supervisor.jobs_waiting (id, kind, queue, service, tenant, priority, run_at, created_at, args,
                                             unique_key, max_attempts, changes, essential, timeout_s, trace_parent,
                                             reason, due_at, line)
        SELECT decided.id, decided.kind, decided.queue, decided.service, decided.tenant, decided.priority, decided.run_at,
               at_once, decided.args, decided.unique_key, decided.max_attempts, decided.changes, decided.essential,
               decided.timeout_s, decided.trace_parent, CASE WHEN decided.is_later THEN 'future' ELSE 'limited' END,
               CASE WHEN decided.is_later THEN decided.run_at ELSE 'infinity' END,
               CASE WHEN NOT decided.is_later THEN
                   supervisor.gate_line(decided.queue, decided.kind, decided.service, decided.tenant, decided.args) END
        FROM decided WHERE decided.is_new AND (decided.is_later OR decided.is_gated)
    )
    SELECT decided.final_id, decided.is_new FROM decided
    WHERE NOT asked OR (
        SELECT supervisor.permit_enqueue(array_agg(fresh.queue), array_agg(fresh.kind), array_agg(fresh.service),
                                         array_agg(fresh.tenant), array_agg(fresh.args))
        FROM decided AS fresh WHERE fresh.is_new
    )
    ORDER BY decided.ordinality;

    SELECT array_agg(DISTINCT coalesce(given.queue, known.queue)) INTO woken
    FROM unnest(kinds, queues, run_ats) AS given (kind, queue, run_at)
    JOIN supervisor.job_kinds AS known ON known.kind = given.kind
    WHERE given.run_at IS NULL OR given.run_at <= at_once;
    PERFORM supervisor.wake(woken);
END
$$;

-- One job, for callers in plain SQL: SELECT supervisor.enqueue('send_welcome', '{"user_id": 7}').
-- Its numbers are integers, since a plain 5 is no smallint.
CREATE FUNCTION supervisor.enqueue(
    kind         text,
    args         jsonb DEFAULT '{}',
    queue        text DEFAULT NULL,
    priority     integer DEFAULT 0,
    run_at       timestamptz DEFAULT NULL,
    tenant       text DEFAULT NULL,
    unique_key   text DEFAULT NULL,
    max_attempts integer DEFAULT NULL,
    trace_parent text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known   supervisor.job_kinds;
    at_once timestamptz := clock_timestamp();
    due     timestamptz := coalesce(enqueue.run_at, at_once);
    place   text;
    tries   integer;
    problem text := supervisor.job_problem(enqueue.args, enqueue.queue, enqueue.priority, enqueue.run_at,
                                           enqueue.tenant, enqueue.unique_key, enqueue.max_attempts,
                                           enqueue.trace_parent);
    job     bigint;
    holder  bigint;
    gated   boolean;
    asked   boolean;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO known FROM supervisor.job_kinds AS one WHERE one.kind = enqueue.kind;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no worker has ever offered jobs of kind %', coalesce(quote_literal(enqueue.kind), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'start a worker whose App lists this kind once, or correct the name';
    END IF;
    job := nextval('supervisor.job_ids');
    place := coalesce(enqueue.queue, known.queue);
    tries := coalesce(enqueue.max_attempts, known.max_attempts);
    IF enqueue.unique_key IS NOT NULL THEN
        INSERT INTO supervisor.job_keys AS held (unique_key, job_id) VALUES (enqueue.unique_key, job)
        ON CONFLICT ON CONSTRAINT job_keys_pkey DO UPDATE SET touched_at = clock_timestamp()
        RETURNING held.job_id INTO holder;
        IF holder <> job THEN
            RETURN holder;
        END IF;
    END IF;
    SELECT supervisor.is_gated(control, place, known.kind, known.service, enqueue.tenant),
           EXISTS (SELECT FROM supervisor.limits AS limit_ WHERE limit_.place = 'enqueue')
           OR EXISTS (SELECT FROM supervisor.queue_settings AS own WHERE own.queue = place AND own.max_depth IS NOT NULL)
    INTO STRICT gated, asked FROM supervisor.control;
    IF asked THEN
        PERFORM supervisor.permit_enqueue(ARRAY[place], ARRAY[known.kind], ARRAY[known.service], ARRAY[enqueue.tenant],
                                          ARRAY[coalesce(enqueue.args, '{}')]);
    END IF;
    IF due <= at_once AND NOT gated THEN
        INSERT INTO supervisor.jobs (id, kind, queue, service, tenant, priority, run_at, created_at, args, unique_key,
                                     max_attempts, changes, essential, timeout_s, trace_parent)
        VALUES (job, known.kind, place, known.service, enqueue.tenant, coalesce(enqueue.priority, 0), due, at_once,
                coalesce(enqueue.args, '{}'), enqueue.unique_key, tries, known.changes, known.essential,
                known.timeout_s, enqueue.trace_parent);
        PERFORM supervisor.wake(ARRAY[place]);
    ELSE
        INSERT INTO supervisor.jobs_waiting (id, kind, queue, service, tenant, priority, run_at, created_at, args,
                                             unique_key, max_attempts, changes, essential, timeout_s, trace_parent,
                                             reason, due_at, line)
        VALUES (job, known.kind, place, known.service, enqueue.tenant, coalesce(enqueue.priority, 0), due, at_once,
                coalesce(enqueue.args, '{}'), enqueue.unique_key, tries, known.changes, known.essential,
                known.timeout_s, enqueue.trace_parent, CASE WHEN due > at_once THEN 'future' ELSE 'limited' END,
                CASE WHEN due > at_once THEN due ELSE 'infinity' END,
                CASE WHEN due <= at_once THEN supervisor.gate_line(
                    place, known.kind, known.service, enqueue.tenant, coalesce(enqueue.args, '{}')) END);
        IF due <= at_once THEN
            PERFORM supervisor.wake(ARRAY[place]);
        END IF;
    END IF;
    RETURN job;
END
$$;
