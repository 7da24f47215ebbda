-- Roles of the database: what each may do that is not the owner, who is whoever migrates. Nobody can log in as
-- one of them; who may, is given a role: GRANT … TO login. They are named after the schema, and so are shared by
-- all databases of a server that have a schema of this name.
--
--   …_runtime  what a worker needs: jobs, and the functions. What is audited changes through its function alone,
--              which writes the audit log in the same transaction.
--   …_reader   looks at everything but tokens, and changes nothing.

-- Grants all rights anew, for as many of the roles as there are. A later migration that makes a table or a
-- function ends with `SELECT supervisor.grant_roles()`, and so does who made the roles by hand.
CREATE FUNCTION supervisor.grant_roles() RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Who may do something here can do it only with an entry in the audit log, or never.
    guarded CONSTANT text[] := '{control,switches,system_audit_log,audit_head,limits,tenants,queue_settings,tokens,
        installation,schema_migrations}';
    hidden  CONSTANT text[] := '{tokens}';
    -- These have the rights of the owner: they change what is guarded, or make and drop the days of the history.
    trusted CONSTANT text[] := '{write_audit,change_switch,expire_switches,set_limit,drop_limit,set_weight,set_queue,
        adopt_running,create_token,revoke_token,touch_token,token_of,make_history,drop_history}';
    owners  CONSTANT text[] := '{grant_roles,open_change,close_change,recompute_gates}';
    runtime CONSTANT text := 'supervisor' || '_runtime';
    reader  CONSTANT text := 'supervisor' || '_reader';
    present text[] := ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname IN (runtime, reader));
    role_   text;
    item    record;
BEGIN
    FOR item IN
        SELECT routine.oid::regprocedure AS name, routine.proname = ANY (trusted) AS is_trusted,
               routine.proname = ANY (owners) AS is_owners, routine.provolatile <> 'v' AS only_reads
        FROM pg_proc AS routine WHERE routine.pronamespace = 'supervisor'::regnamespace
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', item.name);
        IF item.is_trusted THEN
            EXECUTE format('ALTER ROUTINE %s SECURITY DEFINER', item.name);
        END IF;
        FOREACH role_ IN ARRAY present LOOP
            EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', item.name, role_);
            IF NOT item.is_owners AND (role_ = runtime OR (item.only_reads AND NOT item.is_trusted)) THEN
                EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', item.name, role_);
            END IF;
        END LOOP;
    END LOOP;
    FOREACH role_ IN ARRAY present LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', 'supervisor', role_);
        FOR item IN
            SELECT relation.oid::regclass AS name, relation.relkind AS kind, relation.relispartition AS is_part,
                   relation.relname = ANY (guarded) AS is_guarded, relation.relname = ANY (hidden) AS is_hidden
            FROM pg_class AS relation
            WHERE relation.relnamespace = 'supervisor'::regnamespace AND relation.relkind IN ('r', 'p', 'v', 'm', 'S')
        LOOP
            EXECUTE format('REVOKE ALL ON %s FROM %I', item.name, role_);
            IF item.is_hidden THEN
                CONTINUE;
            END IF;
            IF item.kind <> 'S' THEN
                EXECUTE format('GRANT SELECT ON %s TO %I', item.name, role_);
            END IF;
            IF role_ = runtime AND item.kind = 'S' THEN
                EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', item.name, role_);
            -- Not on views: writing through one happens with the rights of its owner.
            ELSIF role_ = runtime AND item.kind IN ('r', 'p') AND NOT item.is_guarded AND NOT item.is_part THEN
                EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %I', item.name, role_);
            END IF;
        END LOOP;
        -- For the days of the history that come later, which are read one by one.
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO %I', 'supervisor', role_);
    END LOOP;
END
$$;

DO $$
DECLARE
    role_ text;
BEGIN
    FOREACH role_ IN ARRAY ARRAY['supervisor' || '_runtime', 'supervisor' || '_reader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- made at this moment, for another database
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'the role % is not there, and % may not make roles', role_, current_user
                    USING HINT = 'let an administrator make it, and call the function grant_roles then';
        END;
    END LOOP;
    PERFORM supervisor.grant_roles();
END
$$;
