-- name: secrets_of_task
SELECT name, ciphertext FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: running_tasks_without_job
-- Running task instances without a job in the queue: the worker died, and its job was removed. Held ones are left out.
SELECT t.id, t.host_id FROM task_instance t
WHERE t.status = 'RUNNING' AND t.held_by IS NULL
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs j
      WHERE j.status IN ('todo', 'doing') AND (j.args ->> 'task_instance_id')::bigint = t.id
  )
ORDER BY t.id;

-- name: worker_heartbeats
SELECT id, last_heartbeat FROM procrastinate_workers;

-- name: stalled_jobs
-- Jobs of workers that are gone, and of workers whose heartbeat has not changed since it expired.
SELECT j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name,
       j.attempts, j.worker_id
FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
WHERE j.status = 'doing' AND j.queue_name = ANY(%(queues)s)
  AND (w.id IS NULL OR EXISTS (
      SELECT FROM unnest(%(workers)s::bigint[], %(stamps)s::timestamptz[]) AS expired (id, last_heartbeat)
      WHERE expired.id = w.id AND expired.last_heartbeat = w.last_heartbeat
  ))
ORDER BY j.id;

-- name: schedule_jobs_that_are_due_too_late
-- Jobs that were postponed before the clock of the database was set back are due now: no delay is longer than `delay`.
UPDATE procrastinate_jobs SET scheduled_at = now()
WHERE status = 'todo' AND queue_name = ANY(%(queues)s) AND scheduled_at > now() + make_interval(secs => %(delay)s);

-- name: delete_stalled_workers
-- Queue workers with an expired heartbeat and without a job. A worker that was only suspended registers again.
DELETE FROM procrastinate_workers w
USING unnest(%(workers)s::bigint[], %(stamps)s::timestamptz[]) AS expired (id, last_heartbeat)
WHERE w.id = expired.id AND w.last_heartbeat = expired.last_heartbeat
  AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.worker_id = w.id AND j.status = 'doing');

-- name: try_recovery_lock
-- One worker at a time recovers jobs and runs: two workers could requeue a job that one of them already executes.
SELECT pg_try_advisory_xact_lock(2105, 0) AS acquired;

-- name: lock_own_job
-- This worker's attempt at a job, locked until the transaction ends; no row when the job was requeued.
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
SELECT procrastinate_retry_job_v2(own.id, now() + make_interval(secs => %(delay)s), %(new_priority)s,
                                  %(new_queue_name)s, %(new_lock)s)
FROM (
    SELECT id FROM procrastinate_jobs
    WHERE id = %(job_id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s
      AND attempts = %(attempts)s
    FOR UPDATE
) AS own;
