-- name: announce_tasks
-- Wakes whoever shows these task instances, when the transaction commits; `changed` = their documents have, which gets
-- a number behind those of the log's rows that were written before. Whoever calls this has locked or made them.
WITH numbered AS (
    INSERT INTO task_change (task_instance_id, number)
    SELECT id, nextval('subtask_log_id_seq') FROM unnest(%(task_ids)s::bigint[]) AS t (id) WHERE %(changed)s
    ON CONFLICT (task_instance_id) DO UPDATE SET number = excluded.number
)
SELECT pg_notify('takeover_task', id::text) FROM unnest(%(task_ids)s::bigint[]) AS t (id);

-- name: listen
LISTEN takeover_task;

-- name: position_of_task
-- The number of what was written last about a task instance; no row when there is none.
SELECT greatest(c.number, max(l.id), 0) AS position
FROM task_instance t
LEFT JOIN task_change c ON c.task_instance_id = t.id
LEFT JOIN subtask_instance s ON s.task_instance_id = t.id
LEFT JOIN LATERAL (SELECT max(id) AS id FROM subtask_log WHERE subtask_id = s.id) AS l ON true
WHERE t.id = %(task_id)s
GROUP BY t.id, c.number;

-- name: news_of_task
-- What was written about a task instance behind a number, in order: rows of its log, and one without a subtask when
-- its document has changed.
SELECT * FROM (
    SELECT l.id, l.subtask_id, l.run_time, l.content
    FROM subtask_instance s
    CROSS JOIN LATERAL (
        SELECT * FROM subtask_log WHERE subtask_id = s.id AND id > %(after)s ORDER BY id LIMIT %(size)s
    ) AS l
    WHERE s.task_instance_id = %(task_id)s
    UNION ALL
    SELECT number, NULL, NULL, NULL FROM task_change WHERE task_instance_id = %(task_id)s AND number > %(after)s
) AS news
ORDER BY id LIMIT %(size)s;

-- name: count_running
SELECT count(*) AS total FROM task_instance WHERE status = 'RUNNING';

-- name: ping
SELECT 1 AS alive;

-- name: write_mode
-- Whether this session may write: not on a standby, nor where the database's default forbids it.
SELECT current_setting('transaction_read_only')::boolean AS read_only;

-- name: limit_memory
SET LOCAL work_mem = '64kB';

-- name: write_temporary_file
-- Some 2 MB, more than work_mem, so that they are written to the disk of the database.
SELECT count(*) FROM generate_series(1, 100000);

-- name: write_to_log
SELECT pg_logical_emit_message(true, 'takeover', 'readiness');
