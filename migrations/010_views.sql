-- What people ask: every live job in one place, with the lease of its worker.

-- A job's lock ends with its worker's lease or soon after its own deadline, whichever comes first; a worker
-- that is gone from the table holds nothing. `reason` says why a job waits.
CREATE VIEW supervisor.job_queue AS
    SELECT job.id AS job_id, job.kind, job.queue, job.service, job.tenant,
           CASE WHEN job.claimed_by IS NOT NULL THEN 'running'
                WHEN job.attempts > 0 THEN 'retry'
                ELSE 'pending' END AS status,
           job.priority, job.run_at, job.created_at, job.attempts, job.max_attempts, job.claimed_by, job.claimed_at,
           job.lock_version,
           CASE WHEN job.claimed_by IS NOT NULL
                THEN least(coalesce(worker.lease_expires_at, job.claimed_at),
                           job.deadline_at + supervisor.deadline_margin()) END AS lock_expires_at,
           worker.last_heartbeat_at, job.deadline_at, job.last_error, NULL::text AS reason
    FROM supervisor.jobs AS job LEFT JOIN supervisor.workers AS worker ON worker.id = job.claimed_by
    UNION ALL
    SELECT job.id, job.kind, job.queue, job.service, job.tenant,
           CASE WHEN job.reason = 'blocked' THEN 'blocked'
                WHEN job.reason = 'retry' OR job.attempts > 0 THEN 'retry'
                ELSE 'pending' END,
           job.priority, job.run_at, job.created_at, job.attempts, job.max_attempts, NULL, NULL, job.lock_version,
           NULL, NULL, NULL, job.last_error, job.reason
    FROM supervisor.jobs_waiting AS job;
