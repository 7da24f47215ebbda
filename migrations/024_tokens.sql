-- Tokens: who may use the HTTP interface, and for what. Of a token only its SHA-256 is kept.

CREATE TABLE supervisor.tokens (
    id           text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'), -- the part of the token that may be shown
    digest       bytea NOT NULL CHECK (length(digest) = 32),
    name         text NOT NULL,          -- of its holder: what the audit log calls the actor
    role         text NOT NULL,
    scopes       text[] NOT NULL,
    tenants      text[],                 -- only for these; null: for all
    queues       text[],
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by   text NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,            -- to the minute
    revoked_at   timestamptz
);

CREATE INDEX tokens_name ON supervisor.tokens (name);

-- What people may see of tokens.
CREATE VIEW supervisor.token_list AS
    SELECT token.id, token.name, token.role, token.scopes, token.tenants, token.queues, token.created_at,
           token.created_by, token.expires_at, token.last_used_at, token.revoked_at,
           CASE WHEN token.revoked_at IS NOT NULL THEN 'revoked'
                WHEN token.expires_at <= clock_timestamp() THEN 'expired'
                ELSE 'valid' END AS state
    FROM supervisor.tokens AS token;

-- The most that a role allows; null for what is no role.
CREATE FUNCTION supervisor.role_scopes(role text) RETURNS text[] LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE role
        WHEN 'viewer' THEN '{jobs:read}'::text[]
        WHEN 'operator' THEN '{jobs:read,jobs:write,queues:control,switch:write,audit:read}'
        WHEN 'admin' THEN '{jobs:read,jobs:write,queues:control,switch:write,audit:read,limits:write,tokens:admin}'
    END
$$;

-- A new token, of which the caller has made the id and the digest. Of one name two may be valid at once,
-- so that one can replace the other while both work.
CREATE FUNCTION supervisor.create_token(
    id text, digest bytea, name text, role text, scopes text[], tenants text[], queues text[], days double precision,
    actor text, reason text, source text DEFAULT NULL, request_id text DEFAULT NULL
) RETURNS TABLE (expires_at timestamptz) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_valid CONSTANT integer := 2;
    too_much   text;
    ends       timestamptz;
BEGIN
    IF coalesce(length(create_token.name), 0) NOT BETWEEN 1 AND 128 OR create_token.name ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'name: that of a token has 1 to 128 characters, none of them a control character'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name it after who uses it';
    END IF;
    IF supervisor.role_scopes(create_token.role) IS NULL THEN
        RAISE EXCEPTION 'role = %: is no role', coalesce(quote_literal(create_token.role), 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'it is one of viewer, operator, admin';
    END IF;
    IF create_token.scopes IS NULL OR create_token.scopes = '{}' THEN
        RAISE EXCEPTION 'scopes: a token without any opens nothing'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'name one scope at least';
    END IF;
    SELECT scope INTO too_much FROM unnest(create_token.scopes) AS scope
    WHERE scope IS NULL OR scope <> ALL (supervisor.role_scopes(create_token.role)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'scopes: % is not one that the role % allows', coalesce(quote_literal(too_much), 'null'),
            create_token.role
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'it allows ' || array_to_string(supervisor.role_scopes(create_token.role), ', ');
    END IF;
    IF create_token.tenants = '{}' OR array_position(create_token.tenants, NULL) IS NOT NULL
       OR create_token.queues = '{}' OR array_position(create_token.queues, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'tenants, queues: a list that confines a token names one at least'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'null, and not an empty list, means all';
    END IF;
    IF create_token.days IS NULL OR NOT (create_token.days > 0 AND create_token.days <= 3660) THEN
        RAISE EXCEPTION 'days = %: a token is valid for more than 0 and at most 3660 days',
            coalesce(create_token.days::text, 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF coalesce(btrim(create_token.actor), '') = '' OR coalesce(btrim(create_token.reason), '') = '' THEN
        RAISE EXCEPTION 'actor, reason: who makes a token, and why, is written down'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give both';
    END IF;
    -- One at a time, or two could each find room for the second.
    PERFORM pg_advisory_xact_lock('supervisor.tokens'::regclass::oid::integer, 1);
    IF (SELECT count(*) FROM supervisor.token_list AS other
        WHERE other.name = create_token.name AND other.state = 'valid') >= most_valid THEN
        RAISE EXCEPTION 'name = %: has % valid tokens already', quote_literal(create_token.name), most_valid
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'revoke one of them first';
    END IF;
    ends := clock_timestamp() + make_interval(secs => create_token.days * 86400);
    INSERT INTO supervisor.tokens AS made (id, digest, name, role, scopes, tenants, queues, created_by, expires_at)
    VALUES (create_token.id, create_token.digest, create_token.name, create_token.role, create_token.scopes,
            create_token.tenants, create_token.queues, create_token.actor, ends);
    PERFORM supervisor.write_audit(
        action_type => 'create_token', scope => 'token', name => create_token.name, actor => create_token.actor,
        reason => create_token.reason, before => NULL,
        after => jsonb_build_object('id', create_token.id, 'role', create_token.role, 'scopes', create_token.scopes,
                                    'tenants', create_token.tenants, 'queues', create_token.queues,
                                    'expires_at', ends),
        source => create_token.source, request_id => create_token.request_id);
    RETURN QUERY SELECT ends;
END
$$;

-- The token opens nothing from the commit on. False: there is none of that id, or it was revoked before.
CREATE FUNCTION supervisor.revoke_token(
    id text, actor text, reason text, source text DEFAULT NULL, request_id text DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    revoked supervisor.tokens;
BEGIN
    IF coalesce(btrim(revoke_token.actor), '') = '' OR coalesce(btrim(revoke_token.reason), '') = '' THEN
        RAISE EXCEPTION 'actor, reason: who revokes a token, and why, is written down'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'give both';
    END IF;
    UPDATE supervisor.tokens AS token SET revoked_at = clock_timestamp()
    WHERE token.id = revoke_token.id AND token.revoked_at IS NULL
    RETURNING token.* INTO revoked;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM supervisor.write_audit(
        action_type => 'revoke_token', scope => 'token', name => revoked.name, actor => revoke_token.actor,
        reason => revoke_token.reason, before => jsonb_build_object('id', revoked.id, 'role', revoked.role),
        after => NULL, source => revoke_token.source, request_id => revoke_token.request_id);
    RETURN true;
END
$$;

-- A token by its id, whatever its state; the caller compares the digest. `stale`: its last use was written
-- down more than a minute ago, or never.
CREATE FUNCTION supervisor.token_of(of_id text) RETURNS TABLE (
    id text, name text, role text, scopes text[], tenants text[], queues text[], created_at timestamptz,
    created_by text, expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz, state text,
    digest bytea, stale boolean
) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT token.id, token.name, token.role, token.scopes, token.tenants, token.queues, token.created_at,
           token.created_by, token.expires_at, token.last_used_at, token.revoked_at, shown.state,
           token.digest, coalesce(token.last_used_at < clock_timestamp() - interval '1 min', true)
    FROM supervisor.tokens AS token JOIN supervisor.token_list AS shown ON shown.id = token.id
    WHERE token.id = of_id
$$;

-- The token is used just now. A minute's many uses are one write, and of many at once only the first writes.
CREATE FUNCTION supervisor.touch_token(of_id text) RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE supervisor.tokens AS token SET last_used_at = clock_timestamp()
    WHERE token.id = of_id
      AND coalesce(token.last_used_at < clock_timestamp() - interval '1 min', true)
$$;
