-- name: queue_statistics
SELECT count(DISTINCT j.id) AS waiting, coalesce(extract(epoch FROM now() - min(e.at)), 0) AS oldest
FROM procrastinate_jobs j LEFT JOIN procrastinate_events e ON e.job_id = j.id AND e.type = 'deferred'
WHERE j.status = 'todo' AND j.queue_name = %(queue)s AND j.task_name = %(task_name)s;

-- name: open_task_counts
-- Open work: superseded and held task instances are not counted.
SELECT status, count(*) AS total FROM task_instance
WHERE status IN ('RUNNING', 'FAILED') AND superseded_by IS NULL AND held_by IS NULL GROUP BY status;

-- name: count_tasks_with_run
SELECT count(*) AS total FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE r.finish_time IS NULL AND t.status = 'RUNNING';

-- name: held_task_counts
SELECT held_by, count(*) AS total FROM task_instance WHERE held_by IS NOT NULL GROUP BY held_by;

-- name: subtask_counts_of_running_tasks
SELECT s.status, count(*) AS total
FROM subtask_instance s JOIN task_instance t ON t.id = s.task_instance_id
WHERE t.status = 'RUNNING' AND t.held_by IS NULL GROUP BY s.status;

-- name: run_statistics
SELECT count(*) AS alive, coalesce(extract(epoch FROM now() - min(renewed)), 0) AS oldest
FROM run WHERE finish_time IS NULL;

-- name: worker_statistics
SELECT count(*) AS workers, coalesce(extract(epoch FROM now() - max(last_heartbeat)), 0) AS youngest
FROM procrastinate_workers;

-- name: server_counts
SELECT cluster_name AS cluster, status, count(*) AS servers,
       count(*) FILTER (WHERE jsonb_array_length(coalesce(learned -> 'pending_restart', '[]')) > 0) AS pending
FROM obproxy_server GROUP BY cluster_name, status;

-- name: health_check_round_age
SELECT extract(epoch FROM now() - started) AS age FROM server_check_round;
