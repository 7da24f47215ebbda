-- The audit log: rows are only added, each with a digest of itself and of the digest before it. Whoever edits,
-- removes or inserts one, past the triggers, breaks the chain.

-- Where the chain ends. Ids run from 1 without a gap, and the first row is chained to this database.
CREATE TABLE supervisor.audit_head (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    last   bigint NOT NULL DEFAULT 0,
    digest bytea NOT NULL
);

CREATE FUNCTION supervisor.audit_genesis() RETURNS bytea LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(convert_to(installation.id::text, 'UTF8')) FROM supervisor.installation
$$;

INSERT INTO supervisor.audit_head (digest) VALUES (supervisor.audit_genesis());

-- The text that is hashed says the same under every setting of the session: times are microseconds since 1970.
CREATE FUNCTION supervisor.audit_digest(previous bytea, entry supervisor.system_audit_log) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(previous || convert_to(jsonb_build_array(
        entry.id, entry.action_type, entry.scope, entry.name, entry.actor, entry.reason, entry.before, entry.after,
        entry.accepted, entry.source, entry.request_id, entry.epoch,
        trunc(extract(epoch FROM entry.created_at) * 1000000)::bigint
    )::text, 'UTF8'))
$$;

-- One writer at a time. Whoever also needs the control lock takes that after this one; see `open_change`.
CREATE FUNCTION supervisor.audit_lock() RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_advisory_xact_lock('supervisor.control'::regclass::oid::integer, 4)
$$;

-- The only way in, also for roles that may not write the table: returns the id. Long texts are cut, since refused
-- attempts say what they like. It holds the lock of the log until its transaction ends.
CREATE FUNCTION supervisor.write_audit(
    action_type text, scope text, name text, actor text, reason text DEFAULT NULL, before jsonb DEFAULT NULL,
    after jsonb DEFAULT NULL, accepted boolean DEFAULT true, source text DEFAULT NULL, request_id text DEFAULT NULL,
    epoch bigint DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    head  supervisor.audit_head;
    entry supervisor.system_audit_log;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the audit log is written in transactions that are READ COMMITTED, not %',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM supervisor.audit_lock();
    SELECT * INTO STRICT head FROM supervisor.audit_head;
    entry.id := head.last + 1;
    entry.action_type := left(write_audit.action_type, 64);
    entry.scope := left(write_audit.scope, 64);
    entry.name := left(write_audit.name, 256);
    entry.actor := left(write_audit.actor, 256);
    entry.reason := left(write_audit.reason, 1000);
    entry.before := write_audit.before;
    entry.after := write_audit.after;
    entry.accepted := coalesce(write_audit.accepted, true);
    entry.source := left(write_audit.source, 256);
    entry.request_id := left(write_audit.request_id, 128);
    entry.epoch := write_audit.epoch;
    entry.created_at := clock_timestamp();
    entry.digest := supervisor.audit_digest(head.digest, entry);
    INSERT INTO supervisor.system_audit_log VALUES (entry.*);
    UPDATE supervisor.audit_head SET last = entry.id, digest = entry.digest;
    RETURN entry.id;
END
$$;

CREATE FUNCTION supervisor.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only added to: % is not possible', TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'write what corrects it with write_audit';
END
$$;

CREATE TRIGGER system_audit_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON supervisor.system_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION supervisor.refuse_audit_change();
CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON supervisor.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION supervisor.refuse_audit_change();

CREATE INDEX system_audit_log_epoch ON supervisor.system_audit_log (epoch) WHERE epoch IS NOT NULL;

-- Checks up to `most` rows from this id on, which is where the last call ended plus one; begin with 1. `last_id` is
-- the last row that is as it was written. `problem` says what is wrong at `first_bad`; null: nothing yet. With
-- fewer than `most` checked and no problem, the log is whole.
CREATE FUNCTION supervisor.audit_verify(from_id bigint, most integer)
RETURNS TABLE (checked bigint, last_id bigint, first_bad bigint, problem text) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head     supervisor.audit_head;
    entry    supervisor.system_audit_log;
    previous bytea;
    expected bigint := greatest(coalesce(from_id, 1), 1);
BEGIN
    SELECT * INTO STRICT head FROM supervisor.audit_head;
    checked := 0;
    last_id := expected - 1;
    IF expected = 1 THEN
        previous := supervisor.audit_genesis();
    ELSE
        SELECT before.digest INTO previous FROM supervisor.system_audit_log AS before WHERE before.id = expected - 1;
        IF NOT FOUND THEN
            first_bad := expected - 1;
            problem := format('row %s was removed', first_bad);
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    FOR entry IN
        SELECT * FROM supervisor.system_audit_log AS row_
        WHERE row_.id >= CASE WHEN expected = 1 THEN -9223372036854775808 ELSE expected END
        ORDER BY row_.id LIMIT greatest(coalesce(most, 0), 0)
    LOOP
        IF entry.id < expected OR entry.id > head.last THEN
            problem := format('row %s was inserted: rows 1 to %s were written', entry.id, head.last);
        ELSIF entry.id > expected THEN
            problem := format('row %s was removed', expected);
        ELSIF entry.digest IS DISTINCT FROM supervisor.audit_digest(previous, entry) THEN
            problem := format('row %s was edited, or the one before it', entry.id);
        END IF;
        IF problem IS NOT NULL THEN
            first_bad := least(entry.id, expected);
            RETURN NEXT;
            RETURN;
        END IF;
        checked := checked + 1;
        last_id := entry.id;
        expected := entry.id + 1;
        previous := entry.digest;
    END LOOP;
    IF checked < coalesce(most, 0) THEN
        IF last_id < head.last THEN
            first_bad := expected;
            problem := format('rows %s to %s, the last ones, were removed', expected, head.last);
        ELSIF head.last = last_id AND head.digest IS DISTINCT FROM previous THEN
            first_bad := last_id;
            problem := format('row %s, the last one, is not the one that was written', last_id);
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
