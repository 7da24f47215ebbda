-- What a job may be. The ways in say what is wrong with one, and how to put it right; what comes by COPY was
-- checked by its client, and only what would harm others is checked again by the table.

-- What is wrong with a job, or null. Nulls stand for what the kind says. The limit of a payload is 256 KiB
-- of JSON as short as it can be; PostgreSQL writes it with spaces, of which it has one for each two bytes
-- at most.
CREATE FUNCTION supervisor.job_problem(
    args jsonb, queue text, priority integer, run_at timestamptz, tenant text, unique_key text, max_attempts integer,
    trace_parent text
) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(args::text) > 393216 THEN
        format('args has %s bytes of JSON: it may have 393216, which is 256 KiB and its spaces; '
               'store the data elsewhere and pass a reference', octet_length(args::text))
    WHEN length(queue) NOT BETWEEN 1 AND 128 THEN
        format('queue has %s characters: it must have 1 to 128', length(queue))
    WHEN queue ~ '[\u0001-\u0020\u007f-\u00a0]' THEN
        format('queue = %s: must be printable characters without spaces', to_json(queue))
    WHEN priority NOT BETWEEN -32768 AND 32767 THEN
        format('priority = %s: must be from -32768 (first) to 32767 (last)', priority)
    WHEN NOT (run_at >= '1970-01-01 00:00+00' AND run_at < '3000-01-01 00:00+00') THEN
        format('run_at = %s: must be from 1970 up to the year 3000; leave it out to run the job at once', run_at)
    WHEN length(tenant) NOT BETWEEN 1 AND 128 THEN
        format('tenant has %s characters: it must have 1 to 128, or be left out', length(tenant))
    WHEN tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        format('tenant = %s: must be printable characters', to_json(tenant))
    WHEN length(unique_key) NOT BETWEEN 1 AND 512 THEN
        format('unique_key has %s characters: it must have 1 to 512, or be left out; a hash of the text would do',
               length(unique_key))
    WHEN unique_key ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        format('unique_key = %s: must be printable characters', to_json(unique_key))
    WHEN max_attempts NOT BETWEEN 1 AND 32767 THEN
        format('max_attempts = %s: must be from 1 (no retry) to 32767', max_attempts)
    WHEN length(trace_parent) > 256 THEN
        format('trace_parent has %s characters: it must have 256 at most', length(trace_parent))
END;
