-- name: secrets
SELECT name, ciphertext FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: unfinished_tasks_without_job
-- Running task instances that no job of the queue stands for any more: their worker died and so did their job.
SELECT t.id, t.host_id FROM task_instance t
WHERE t.status = 'RUNNING'
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs j
      WHERE j.status IN ('todo', 'doing') AND (j.args ->> 'task_instance_id')::bigint = t.id
  )
ORDER BY t.id;

-- name: heartbeats
SELECT id, last_heartbeat FROM procrastinate_workers;

-- name: stalled_jobs
-- Jobs of dead queue workers: of those that are gone, and of those that still have the stamp with which they expired.
SELECT j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name, j.attempts,
       j.worker_id
FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
WHERE j.status = 'doing' AND j.queue_name = %(queue)s
  AND (w.id IS NULL OR EXISTS (
      SELECT FROM unnest(%(workers)s::bigint[], %(stamps)s::timestamptz[]) AS expired (id, last_heartbeat)
      WHERE expired.id = w.id AND expired.last_heartbeat = w.last_heartbeat
  ))
ORDER BY j.id;

-- name: forget_workers
-- Dead queue workers without a job. One that only stood still registers again.
DELETE FROM procrastinate_workers w
USING unnest(%(workers)s::bigint[], %(stamps)s::timestamptz[]) AS expired (id, last_heartbeat)
WHERE w.id = expired.id AND w.last_heartbeat = expired.last_heartbeat
  AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.worker_id = w.id AND j.status = 'doing');

-- name: try_to_recover
-- One worker at a time looks for what the dead have left: two could put a job back that one of them does by then.
SELECT pg_try_advisory_xact_lock(2105, 0) AS mine;

-- name: delete_old_logs
-- Logs of task instances that ended long ago and that nobody can go on with.
DELETE FROM subtask_log l USING subtask_instance s, task_instance t
WHERE s.id = l.subtask_id AND t.id = s.task_instance_id AND t.finish_time < now() - make_interval(days => %(days)s)
  AND (t.status = 'SUCCESSFUL' OR EXISTS (
      SELECT FROM task_instance n WHERE n.host_id = t.host_id AND n.id > t.id
  ));

-- name: delete_old_tasks
-- The same for the task instances themselves; the newest of a host stays, whatever became of it.
-- A row that another transaction holds is left for the next time: waiting for it in this order could deadlock.
DELETE FROM task_instance WHERE id IN (
    SELECT t.id FROM task_instance t
    WHERE t.finish_time < now() - make_interval(days => %(days)s)
      AND EXISTS (SELECT FROM task_instance n WHERE n.host_id = t.host_id AND n.id > t.id)
    ORDER BY t.id FOR UPDATE SKIP LOCKED
);

-- name: delete_old_keys
DELETE FROM idempotency_key WHERE (creator, key) IN (
    SELECT creator, key FROM idempotency_key WHERE create_time < now() - interval '24 hours'
    FOR UPDATE SKIP LOCKED
);

-- name: claim_round
-- A round of checks, for one worker; no row when it is not time. `before` is when the one before began.
UPDATE server_check_round r SET started = now()
FROM (SELECT started FROM server_check_round FOR UPDATE) AS last
WHERE last.started <= now() - make_interval(secs => %(interval)s)
RETURNING last.started AS before;

-- name: servers_to_check
SELECT s.id, s.ip, s.sql_port, coalesce(c.answered, false) AS answered
FROM obproxy_server s LEFT JOIN server_check c ON c.server_id = s.id
WHERE s.status IN ('RUNNING', 'UNAVAILABLE')
ORDER BY s.id;

-- name: servers_answered
-- What has answered is RUNNING; gives those that were not. When each was last seen is written down now and then only.
WITH former AS (
    SELECT id, status, last_active_time FROM obproxy_server
    WHERE id = ANY(%(server_ids)s) AND status IN ('RUNNING', 'UNAVAILABLE')
      AND (status <> 'RUNNING' OR last_active_time IS NULL
           OR last_active_time < now() - make_interval(secs => %(grain)s))
    ORDER BY host_id, sql_port FOR UPDATE
), changed AS (
    UPDATE obproxy_server s
    SET status = 'RUNNING', last_active_time = now(),
        update_time = CASE WHEN former.status = 'RUNNING' THEN s.update_time ELSE now() END
    FROM former WHERE s.id = former.id
)
SELECT id FROM former WHERE status <> 'RUNNING';

-- name: remember_answered
INSERT INTO server_check (server_id, answered)
SELECT id, true FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET answered = true;

-- name: servers_silent
-- What is silent although it used to answer is UNAVAILABLE; it was last seen in the round before. Gives those that
-- were not.
UPDATE obproxy_server s
SET status = 'UNAVAILABLE', update_time = now(),
    last_active_time = greatest(s.last_active_time, %(before)s)
FROM (
    SELECT id FROM obproxy_server WHERE id = ANY(%(server_ids)s) AND status = 'RUNNING'
    ORDER BY host_id, sql_port FOR UPDATE
) AS former
WHERE s.id = former.id
  -- A look may have found out since the round began that its silence says nothing.
  AND EXISTS (SELECT FROM server_check c WHERE c.server_id = s.id AND c.answered)
RETURNING s.id;

-- name: owe_looks
-- Servers that are to be looked at before all others.
INSERT INTO server_check (server_id, answered, looked)
SELECT id, true, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET looked = 'epoch';

-- name: owe_first_looks
-- The same of those that nothing is known of yet: silent since they were taken over, or behind a firewall.
INSERT INTO server_check (server_id, looked)
SELECT id, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO NOTHING;

-- name: due_for_a_look
-- Some of the servers whose host was not asked for so long, those that have waited longest first; more of them as long
-- as there are some that are to be looked at before all others.
INSERT INTO server_check (server_id)
SELECT id FROM (SELECT s.id, s.host_id, s.sql_port FROM obproxy_server s LEFT JOIN server_check c ON c.server_id = s.id
WHERE s.status IN ('RUNNING', 'UNAVAILABLE')
  AND coalesce(c.looked, s.create_time) < now() - make_interval(secs => %(interval)s)
ORDER BY coalesce(c.looked, s.create_time), s.id
LIMIT greatest(%(most)s, least(%(most_owed)s, (SELECT count(*) FROM server_check WHERE looked = 'epoch')))
) AS due
ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET looked = now()
RETURNING server_id;

-- name: server_to_look_at
SELECT * FROM obproxy_server WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE');

-- name: server_seen
-- The host says that the OBProxy runs. If it was silent, it cannot be reached from here, and its silence says nothing.
WITH former AS (
    SELECT id, status FROM obproxy_server
    WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE') FOR UPDATE
), unreachable AS (
    UPDATE server_check c SET answered = false FROM former WHERE c.server_id = former.id AND former.status <> 'RUNNING'
), changed AS (
    UPDATE obproxy_server s
    SET status = 'RUNNING', last_active_time = now(),
        update_time = CASE WHEN former.status = 'RUNNING' THEN s.update_time ELSE now() END
    FROM former WHERE s.id = former.id
)
SELECT id FROM former WHERE status <> 'RUNNING';

-- name: server_not_seen
-- Neither its port nor its host knows anything of the OBProxy. One whose port can be reached is judged by that alone.
UPDATE obproxy_server s SET status = 'UNAVAILABLE', update_time = now()
WHERE s.id = %(server_id)s AND s.status = 'RUNNING'
  AND NOT EXISTS (SELECT FROM server_check c WHERE c.server_id = s.id AND c.answered)
RETURNING s.id;

-- name: delete_old_audit_events
DELETE FROM audit_event WHERE id IN (
    SELECT id FROM audit_event WHERE time < now() - make_interval(days => %(days)s) FOR UPDATE SKIP LOCKED
);

-- name: own_job
-- This attempt of this worker at a job, if the job still is its; held until the transaction ends.
SELECT id FROM procrastinate_jobs
WHERE id = %(job_id)s AND status = 'doing' AND worker_id = %(worker_id)s AND attempts = %(attempts)s
FOR SHARE;

-- name: finish_own_job
SELECT procrastinate_finish_job_v1(own.id, %(end_status)s::procrastinate_job_status, %(delete_job)s)
FROM (
    SELECT id FROM procrastinate_jobs
    WHERE id = %(job_id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s
      AND attempts = %(attempts)s
    FOR UPDATE
) AS own;

-- name: retry_own_job
SELECT procrastinate_retry_job_v2(own.id, coalesce(%(retry_at)s::timestamptz, now()), %(new_priority)s,
                                  %(new_queue_name)s, %(new_lock)s)
FROM (
    SELECT id FROM procrastinate_jobs
    WHERE id = %(job_id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s
      AND attempts = %(attempts)s
    FOR UPDATE
) AS own;
