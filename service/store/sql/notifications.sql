-- name: notify_task_changes
-- Notify subscribers of task instances when the transaction commits. With `changed`, their documents get a change
-- number, which follows the numbers of earlier log rows. The caller has locked or inserted the task instances.
WITH numbered AS (
    INSERT INTO task_change (task_instance_id, number)
    SELECT id, nextval('subtask_log_id_seq') FROM unnest(%(task_ids)s::bigint[]) AS t (id) WHERE %(changed)s
    ON CONFLICT (task_instance_id) DO UPDATE SET number = excluded.number
)
SELECT pg_notify('takeover_task', id::text) FROM unnest(%(task_ids)s::bigint[]) AS t (id);

-- name: listen_for_task_changes
LISTEN takeover_task;

-- name: listen_for_discoveries
LISTEN host_discovery;

-- name: notify_discovery_changes
-- Notify subscribers of the discoveries of hosts when the transaction commits.
SELECT pg_notify('host_discovery', id::text) FROM unnest(%(host_ids)s::bigint[]) AS h (id);

-- name: last_change_of_task
-- The number of the last change of a task instance or of its log; no row when the task instance does not exist.
SELECT greatest(c.number, max(l.id)) AS position
FROM task_instance t
JOIN task_change c ON c.task_instance_id = t.id
JOIN subtask_instance s ON s.task_instance_id = t.id
CROSS JOIN LATERAL (SELECT max(id) AS id FROM subtask_log WHERE subtask_id = s.id) AS l
WHERE t.id = %(task_id)s
GROUP BY t.id, c.number;

-- name: changes_of_task_after
-- Changes of a task instance after a number, in order: rows of its log, and a row without a subtask when its document
-- has changed.
SELECT * FROM (
    SELECT l.id, l.subtask_id, l.run_time, l.content
    FROM subtask_instance s
    CROSS JOIN LATERAL (
        SELECT * FROM subtask_log WHERE subtask_id = s.id AND id > %(after)s ORDER BY id LIMIT %(size)s
    ) AS l
    WHERE s.task_instance_id = %(task_id)s
    UNION ALL
    SELECT number, NULL, NULL, NULL FROM task_change WHERE task_instance_id = %(task_id)s AND number > %(after)s
) AS changes
ORDER BY id LIMIT %(size)s;

-- name: count_running_tasks
SELECT count(*) AS total FROM task_instance WHERE status = 'RUNNING' AND held_by IS NULL;

-- name: ping
SELECT 1 AS alive;
