-- What a program tells the database once: the kinds of jobs that it knows, and how far a long enqueue came.

-- Write down what kinds of jobs are unless the caller says otherwise; returns how many rows changed. With
-- `replace` what differs is replaced; without, a kind that is known stays as it is. What is already
-- as it should be is not even locked, since every start of every worker calls this.
CREATE FUNCTION supervisor.offer_kinds(
    kinds text[], queues text[], services text[], max_attempts smallint[], timeouts real[], changes boolean[],
    essentials boolean[], replace boolean
) RETURNS integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    written integer;
BEGIN
    INSERT INTO supervisor.job_kinds AS known
        (kind, queue, service, max_attempts, timeout_s, changes, essential)
    SELECT DISTINCT ON (item.kind) item.*
    FROM unnest(kinds, queues, services, offer_kinds.max_attempts, timeouts, offer_kinds.changes, essentials)
         AS item (kind, queue, service, max_attempts, timeout_s, changes, essential)
    WHERE NOT EXISTS (
        SELECT FROM supervisor.job_kinds AS same
        WHERE same.kind = item.kind
          AND (NOT coalesce(replace, false)
               OR (same.queue, same.service, same.max_attempts, same.timeout_s, same.changes, same.essential)
                = (item.queue, item.service, item.max_attempts, item.timeout_s, item.changes, item.essential))
    )
    ORDER BY item.kind
    ON CONFLICT (kind) DO UPDATE
    SET queue = excluded.queue, service = excluded.service, max_attempts = excluded.max_attempts,
        timeout_s = excluded.timeout_s, changes = excluded.changes, essential = excluded.essential,
        updated_at = clock_timestamp()
    WHERE replace;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- How far the lines of a file were enqueued; `position` moves in the transaction of each chunk, so that
-- whoever begins again goes on where it ended.
CREATE TABLE supervisor.enqueue_files (
    batch       text PRIMARY KEY,
    position    bigint NOT NULL DEFAULT 0,
    total       bigint,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);

-- This database among all others: the namespace of the idempotency keys that its jobs give to services.
CREATE TABLE supervisor.installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id  uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO supervisor.installation DEFAULT VALUES;
