-- The control row: what may start, everywhere. It is read by every claim under the shared control lock
-- and changed under the exclusive one, so that after a change commits nothing in its scope starts, even
-- on a host that hears no NOTIFY.

CREATE TABLE supervisor.control (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch        bigint NOT NULL DEFAULT 1,
    killed       boolean NOT NULL DEFAULT false,
    mode         text NOT NULL DEFAULT 'normal' CHECK (mode IN ('normal', 'observe_only', 'safe_mode')),
    off_services text[] NOT NULL DEFAULT '{}',
    off_tenants  text[] NOT NULL DEFAULT '{}',
    off_queues   text[] NOT NULL DEFAULT '{}',
    off_kinds    text[] NOT NULL DEFAULT '{}',
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
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

CREATE TABLE supervisor.system_audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action_type text NOT NULL,
    actor       text NOT NULL,
    reason      text,
    before      jsonb,
    after       jsonb,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
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
