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

-- The changes of the switches and limits, and those that were refused; see `write_audit`.
CREATE TABLE supervisor.system_audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
