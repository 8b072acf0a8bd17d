-- name: lock_rollout
-- Lock a request; no row when it has no rollout policy.
SELECT rollout FROM request WHERE id = %(request_id)s AND rollout IS NOT NULL FOR NO KEY UPDATE;

-- name: rollout_progress
-- Numbers of hosts of a request; `stopped` of them do not start because too many have failed.
SELECT count(*) FILTER (WHERE held_by = 'ROLLOUT') AS held,
       count(*) FILTER (WHERE held_by = 'ROLLOUT' AND position <= %(canary)s) AS held_canary,
       count(*) FILTER (WHERE held_by = 'MAX_FAILURES') AS stopped,
       count(*) FILTER (WHERE held_by IS NULL AND status = 'RUNNING') AS running,
       count(*) FILTER (WHERE status = 'FAILED' AND failure_accepted IS NOT TRUE) AS failed
FROM task_instance WHERE request_id = %(request_id)s;

-- name: start_held_tasks
-- The first held task instances of a request start; returns them in its order. The caller has locked the request. The
-- limit counts a canary host that fails again after a retry.
WITH started AS (
    UPDATE task_instance
    SET held_by = NULL, failure_accepted = CASE WHEN position > %(canary)s THEN failure_accepted END
    WHERE id IN (
        SELECT id FROM task_instance WHERE request_id = %(request_id)s AND held_by = 'ROLLOUT'
        ORDER BY position LIMIT %(number)s
    )
    RETURNING id, position
)
SELECT id FROM started ORDER BY position;

-- name: start_held_jobs
-- Move held jobs to the queue, in the order of `task_ids`. They are inserted again, so that workers are notified.
WITH held AS (
    DELETE FROM procrastinate_jobs
    WHERE queue_name = %(held_queue)s AND status = 'todo'
      AND (args ->> 'task_instance_id')::bigint = ANY(%(task_ids)s::bigint[])
    RETURNING task_name, priority, lock, args
)
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, args)
SELECT %(queue)s, task_name, priority, lock, args FROM held
ORDER BY array_position(%(task_ids)s::bigint[], (args ->> 'task_instance_id')::bigint);

-- name: hold_tasks_of_request
-- Change the reason for which task instances of a request are held. The caller has locked the request.
UPDATE task_instance SET held_by = %(after)s WHERE request_id = %(request_id)s AND held_by = %(before)s RETURNING id;

-- name: accept_failures_of_request
-- The limit of a rollout does not count the hosts that have failed until now.
UPDATE task_instance SET failure_accepted = true WHERE request_id = %(request_id)s AND status = 'FAILED';

-- name: requests_with_held_tasks
SELECT DISTINCT request_id FROM task_instance WHERE held_by = 'ROLLOUT' ORDER BY request_id;

-- name: running_tasks_of_request
-- The task instances of a request that have started and not ended.
SELECT id, host_name FROM task_instance
WHERE request_id = %(request_id)s AND status = 'RUNNING' AND held_by IS NULL ORDER BY id;
