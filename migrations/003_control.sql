-- The control row: what may start, everywhere. It is read by every claim under the shared control lock
-- and changed under the exclusive one, so that after a change commits nothing in its scope starts, even
-- on a host that hears no NOTIFY.

-- Who switched what off, and until when, stands in `switches`; what must wait for a permit, in `limits`.
-- Here is what a claim needs of both, kept in the same transactions.
CREATE TABLE supervisor.control (
    one              boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch            bigint NOT NULL DEFAULT 1,
    killed           boolean NOT NULL DEFAULT false,
    mode             text NOT NULL DEFAULT 'normal' CHECK (mode IN ('normal', 'observe_only', 'safe_mode')),
    off_services     text[] NOT NULL DEFAULT '{}',
    off_tenants      text[] NOT NULL DEFAULT '{}',
    off_queues       text[] NOT NULL DEFAULT '{}',
    off_kinds        text[] NOT NULL DEFAULT '{}',
    gated_services   text[] NOT NULL DEFAULT '{}',
    gated_tenants    text[] NOT NULL DEFAULT '{}',
    gated_queues     text[] NOT NULL DEFAULT '{}',
    gated_kinds      text[] NOT NULL DEFAULT '{}',
    gated_tenanted   boolean NOT NULL DEFAULT false, -- every job that has a tenant
    gated_all        boolean NOT NULL DEFAULT false,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO supervisor.control DEFAULT VALUES;

-- The lock is named after the table, so that two schemas in one database do not meet.
CREATE FUNCTION supervisor.control_lock_shared() RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_advisory_xact_lock_shared('supervisor.control'::regclass::oid::integer, 1)
$$;

CREATE FUNCTION supervisor.control_lock_exclusive() RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_advisory_xact_lock('supervisor.control'::regclass::oid::integer, 1)
$$;

-- The safety check, and the only place that says what a switch means: null where such a job may start,
-- else the first thing that forbids it. Claims, the safety check in code and the one over HTTP all ask
-- here. It is inlined into the claim, so it has no search_path of its own.
CREATE FUNCTION supervisor.blocked_by(
    switches supervisor.control, queue text, kind text, service text, tenant text, changes boolean, essential boolean
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN (switches).killed THEN 'kill_switch'
    WHEN (switches).mode = 'observe_only' AND changes THEN 'mode:observe_only'
    WHEN (switches).mode = 'safe_mode' AND NOT essential THEN 'mode:safe_mode'
    WHEN service = ANY ((switches).off_services) THEN 'service:' || service
    WHEN tenant = ANY ((switches).off_tenants) THEN 'tenant:' || tenant
    WHEN queue = ANY ((switches).off_queues) THEN 'queue:' || queue
    WHEN kind = ANY ((switches).off_kinds) THEN 'kind:' || kind
END;

-- Whether such a job needs a permit of some limit to start, and so waits behind a gate. It says yes too
-- often rather than too seldom: at the gate each limit is looked at for itself.
CREATE FUNCTION supervisor.is_gated(
    switches supervisor.control, queue text, kind text, service text, tenant text
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (switches).gated_all
    OR (tenant IS NOT NULL AND ((switches).gated_tenanted OR tenant = ANY ((switches).gated_tenants)))
    OR kind = ANY ((switches).gated_kinds)
    OR service = ANY ((switches).gated_services)
    OR queue = ANY ((switches).gated_queues);

-- Every change is one transaction: the locks, the new value, the next epoch, an audit row. Whoever changes the
-- control row calls `open_change` and `close_change`, which take the lock of the audit log before the exclusive
-- control lock: so no two changes wait for each other, and no claim waits for the log.

-- The control row as it is after a change: the only place that says where a switch is kept.
CREATE FUNCTION supervisor.switched(control supervisor.control, scope text, name text, value jsonb)
RETURNS supervisor.control LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_off boolean := value = 'true';
BEGIN
    CASE scope
        WHEN 'kill_switch' THEN control.killed := is_off;
        WHEN 'mode' THEN control.mode := value #>> '{}';
        WHEN 'service' THEN control.off_services := supervisor.with_name(control.off_services, name, is_off);
        WHEN 'tenant' THEN control.off_tenants := supervisor.with_name(control.off_tenants, name, is_off);
        WHEN 'queue' THEN control.off_queues := supervisor.with_name(control.off_queues, name, is_off);
        WHEN 'kind' THEN control.off_kinds := supervisor.with_name(control.off_kinds, name, is_off);
    END CASE;
    RETURN control;
END
$$;

CREATE FUNCTION supervisor.with_name(names text[], name text, is_in boolean) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT item.other FROM unnest(names) AS item (other) WHERE item.other <> name
        UNION ALL SELECT name WHERE is_in
        ORDER BY 1
    )
$$;

-- A control row on which nothing is off but this, nor anything else said.
CREATE FUNCTION supervisor.only_switch(scope text, name text, value jsonb) RETURNS supervisor.control
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT supervisor.switched(NULL::supervisor.control, scope, name, value)
$$;

CREATE FUNCTION supervisor.switch_value(control supervisor.control, scope text, name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE scope
        WHEN 'kill_switch' THEN to_jsonb(control.killed)
        WHEN 'mode' THEN to_jsonb(control.mode)
        WHEN 'service' THEN to_jsonb(name = ANY (control.off_services))
        WHEN 'tenant' THEN to_jsonb(name = ANY (control.off_tenants))
        WHEN 'queue' THEN to_jsonb(name = ANY (control.off_queues))
        WHEN 'kind' THEN to_jsonb(name = ANY (control.off_kinds))
    END
$$;

-- Opens a change: takes the locks, 2 s each at most, and returns the control row. New claims queue behind the
-- exclusive lock while it is waited for, so who cannot have it must let them by before it tries again.
CREATE FUNCTION supervisor.open_change(if_epoch bigint DEFAULT NULL) RETURNS supervisor.control
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    switches supervisor.control;
    holders  text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a change of the switches needs a transaction that is READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'default_transaction_isolation of this role or database is not ''read committed''';
    END IF;
    BEGIN
        PERFORM supervisor.audit_lock();
        PERFORM supervisor.control_lock_exclusive();
    EXCEPTION WHEN lock_not_available THEN
        SELECT string_agg(format('process %s (%s)', held.pid, held.application), ', ' ORDER BY held.pid)
        INTO holders FROM supervisor.control_holders() AS held;
        RAISE EXCEPTION 'the switches cannot be changed now: for 2 s others have held their lock: %',
            coalesce(holders, 'nobody any more')
            USING ERRCODE = 'SV005', HINT = 'try again; end a session that stays with pg_terminate_backend';
    END;
    SELECT * INTO STRICT switches FROM supervisor.control;
    IF if_epoch IS NOT NULL AND if_epoch <> switches.epoch THEN
        RAISE EXCEPTION 'the switches have changed meanwhile: the epoch is %, not %', switches.epoch, if_epoch
            USING ERRCODE = 'SV003', HINT = 'look at them again, and then decide';
    END IF;
    RETURN switches;
END
$$;

-- Counts the change and tells everybody, at its commit.
CREATE FUNCTION supervisor.close_change() RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE supervisor.control SET epoch = control.epoch + 1, updated_at = clock_timestamp()
    RETURNING control.epoch INTO changed;
    -- Two literals, since the channel is named after the schema, whatever that is called.
    PERFORM pg_notify('supervisor' || '_control', changed::text);
    RETURN changed;
END
$$;

-- Sessions that hold the lock of the switches or of the audit log at this moment.
CREATE FUNCTION supervisor.control_holders() RETURNS TABLE (pid integer, application text, at_client_s double precision)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT held.pid, activity.application_name,
           CASE WHEN activity.wait_event_type = 'Client'
                THEN extract(epoch FROM clock_timestamp() - activity.xact_start)::double precision END
    FROM pg_locks AS held
    JOIN pg_stat_activity AS activity ON activity.pid = held.pid
    WHERE held.locktype = 'advisory' AND held.granted AND held.pid <> pg_backend_pid()
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND held.classid = 'supervisor.control'::regclass::oid AND held.objsubid = 2
$$;

-- Ends the sessions that have held one of these locks for longer than 2 s and wait for their client, which is
-- frozen or has forgotten its transaction: what they did is undone. One client must not veto a kill switch.
CREATE FUNCTION supervisor.end_stuck_holders() RETURNS SETOF integer LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stuck integer;
BEGIN
    FOR stuck IN SELECT held.pid FROM supervisor.control_holders() AS held WHERE held.at_client_s > 2 LOOP
        BEGIN
            IF pg_terminate_backend(stuck) THEN
                RETURN NEXT stuck;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL; -- another user's: the error of the change names it
        END;
    END LOOP;
END
$$;

-- The changes of the switches and limits, and those that were refused; see `write_audit`.
CREATE TABLE supervisor.system_audit_log (
    id          bigint PRIMARY KEY,     -- from 1 without a gap
    action_type text NOT NULL,          -- as `activate_kill_switch`, `set_mode`, `pause_tenant`
    scope       text,                   -- kill_switch, mode, service, tenant, queue, kind, limit, token …
    name        text,                   -- of the service, the tenant …
    actor       text NOT NULL,          -- a token's name, or an operating-system user
    reason      text,
    before      jsonb,
    after       jsonb,
    accepted    boolean NOT NULL DEFAULT true,
    source      text,                   -- the address it came from
    request_id  text,
    epoch       bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    digest      bytea NOT NULL          -- of this row and the digest of the one before
);

CREATE VIEW supervisor.system_config AS
    SELECT setting.key AS config_key, setting.value AS config_value, control.epoch, control.updated_at
    FROM supervisor.control,
         LATERAL (VALUES
             ('global_kill_switch', jsonb_build_object('active', control.killed)),
             ('mode', to_jsonb(control.mode)),
             ('disabled_services', to_jsonb(control.off_services)),
             ('paused_tenants', to_jsonb(control.off_tenants)),
             ('paused_queues', to_jsonb(control.off_queues)),
             ('paused_kinds', to_jsonb(control.off_kinds))
         ) AS setting (key, value);
