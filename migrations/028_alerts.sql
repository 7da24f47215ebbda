-- What people and alarms ask about the fleet. All of it reads the table of workers and nothing else, so that it
-- costs the same with a million jobs.

-- The workers that are not over, by version.
CREATE VIEW supervisor.worker_versions AS
    SELECT worker.version, count(*) AS workers, min(worker.started_at) AS first_started_at,
           max(worker.started_at) AS last_started_at, array_agg(DISTINCT worker.host ORDER BY worker.host) AS hosts
    FROM supervisor.workers AS worker
    WHERE worker.status IN ('STARTING', 'RUNNING', 'STOPPING') AND worker.lease_expires_at > clock_timestamp()
    GROUP BY worker.version;

-- Every worker, with what can be told from its row. `is_live`: not known to be over. `rescue_at`: when, at the
-- latest, what it holds is released if it is never heard of again: a look for such workers comes each second or so.
-- `drifts`: it lives, and runs another version than most do; where there is no most, than the one started last.
CREATE VIEW supervisor.worker_overview AS
    SELECT worker.id, worker.name, worker.host, worker.pid, worker.worker_type, worker.status, worker.version,
           worker.singleton, worker.started_at, worker.last_heartbeat_at, worker.lease_expires_at, worker.stopping_at,
           worker.stopped_at, live.is_live,
           live.is_live AND worker.version IS DISTINCT FROM (
               SELECT usual.version FROM supervisor.worker_versions AS usual
               ORDER BY usual.workers DESC, usual.last_started_at DESC LIMIT 1
           ) AS drifts,
           extract(epoch FROM coalesce(worker.stopped_at, clock_timestamp()) - worker.started_at)::double precision
               AS uptime_s,
           CASE WHEN live.is_live THEN
               extract(epoch FROM clock_timestamp() - worker.last_heartbeat_at)::double precision END AS silent_s,
           greatest(worker.longest_gap_s,
                    CASE WHEN live.is_live THEN extract(epoch FROM clock_timestamp() - worker.last_heartbeat_at) END
           )::double precision AS longest_gap_s,
           worker.heartbeats, worker.running, worker.confirmed_epoch,
           CASE WHEN live.is_live THEN worker.lease_expires_at + interval '1.5 s' END AS rescue_at,
           ARRAY(SELECT single.name FROM supervisor.singletons AS single
                 WHERE live.is_live AND single.worker = worker.id ORDER BY single.name) AS singletons,
           worker.metadata
    FROM supervisor.workers AS worker,
         LATERAL (SELECT worker.status IN ('STARTING', 'RUNNING', 'STOPPING') AND worker.stopped_at IS NULL) AS live (is_live);

-- How often the processes of a host start: a number that grows is one that somebody restarts.
CREATE VIEW supervisor.worker_restarts AS
    SELECT worker.host, worker.worker_type,
           count(*) FILTER (WHERE worker.status IN ('STARTING', 'RUNNING', 'STOPPING')) AS live,
           count(*) FILTER (WHERE worker.started_at > clock_timestamp() - interval '1 hour') AS starts_1h,
           count(*) FILTER (WHERE worker.started_at > clock_timestamp() - interval '24 hours') AS starts_24h,
           count(*) FILTER (WHERE worker.status = 'LOST' AND worker.stopped_at > clock_timestamp() - interval '24 hours')
               AS lost_24h
    FROM supervisor.workers AS worker
    GROUP BY worker.host, worker.worker_type;

-- A singleton that more than one worker has. There is a unique index against it: a row here means that
-- somebody removed it, or restored the table without it.
CREATE VIEW supervisor.alert_several_singletons AS
    SELECT worker.active_singleton AS singleton, count(*) AS workers, array_agg(worker.id ORDER BY worker.id) AS ids,
           array_agg(worker.name ORDER BY worker.id) AS names, max(worker.started_at) AS since
    FROM supervisor.workers AS worker
    WHERE worker.active_singleton IS NOT NULL
    GROUP BY worker.active_singleton HAVING count(*) > 1;

-- Workers that start or run, but have been silent for 30 s, or for the whole of their lease.
CREATE VIEW supervisor.alert_stale_workers AS
    SELECT worker.id, worker.name, worker.host, worker.pid, worker.status, worker.last_heartbeat_at,
           worker.lease_expires_at,
           extract(epoch FROM clock_timestamp() - worker.last_heartbeat_at)::double precision AS silent_s
    FROM supervisor.workers AS worker
    WHERE worker.status IN ('STARTING', 'RUNNING')
      AND (worker.last_heartbeat_at <= clock_timestamp() - interval '30 s'
           OR worker.lease_expires_at <= clock_timestamp());

-- Workers whose stop hangs: it has lasted for longer than `stopping_timeout`, or they were silent until their
-- lease was over.
CREATE VIEW supervisor.alert_hung_workers AS
    SELECT worker.id, worker.name, worker.host, worker.pid, worker.stopping_at, worker.last_heartbeat_at,
           extract(epoch FROM clock_timestamp() - worker.last_heartbeat_at)::double precision AS silent_s,
           worker.running
    FROM supervisor.workers AS worker
    WHERE worker.status = 'STOPPING'
      AND (worker.lease_expires_at <= clock_timestamp()
           OR coalesce(worker.stopping_at, worker.last_heartbeat_at) <= clock_timestamp() - supervisor.stopping_timeout());

-- More than one version among the workers that live; no row: one, or none.
CREATE VIEW supervisor.alert_version_drift AS
    SELECT count(*) AS versions, sum(usual.workers)::bigint AS workers,
           jsonb_object_agg(usual.version, usual.workers) AS workers_by_version,
           max(usual.first_started_at) AS since
    FROM supervisor.worker_versions AS usual HAVING count(*) > 1;

-- All of these in one list, for an alarm that fires on any row.
CREATE VIEW supervisor.worker_alerts AS
    SELECT 'several_singletons' AS alert, several.singleton AS subject, several.since,
           format('%s workers are active as this singleton: %s', several.workers, array_to_string(several.ids, ', '))
               AS detail
    FROM supervisor.alert_several_singletons AS several
    UNION ALL
    SELECT 'stale_worker', stale.name, stale.last_heartbeat_at,
           format('worker %s, pid %s on %s, has been silent for %s s', stale.id, stale.pid, stale.host,
                  round(stale.silent_s))
    FROM supervisor.alert_stale_workers AS stale
    UNION ALL
    SELECT 'hung_stopping', hung.name, hung.stopping_at,
           format('worker %s, pid %s on %s, does not come to the end of its stop', hung.id, hung.pid, hung.host)
    FROM supervisor.alert_hung_workers AS hung
    UNION ALL
    SELECT 'version_drift', drift.versions || ' versions', drift.since,
           (SELECT string_agg(format('%s: %s', usual.version, usual.workers), ', '
                              ORDER BY usual.workers DESC, usual.version)
            FROM supervisor.worker_versions AS usual)
    FROM supervisor.alert_version_drift AS drift;
