-- name: insert_request
INSERT INTO request (workflow, cluster_id, cluster_name, creator, creator_id, rollout)
VALUES (%(workflow)s, %(cluster_id)s, %(cluster_name)s, %(creator)s, %(creator_id)s, %(rollout)s)
RETURNING id;

-- name: requests_by_id
SELECT * FROM request WHERE id = ANY(%(request_ids)s);

-- name: request_cluster_names
-- Like task_names, of the OBProxy clusters of requests.
WITH RECURSIVE found (name) AS (
    SELECT min(cluster_name) FROM request
    UNION ALL
    SELECT (SELECT min(cluster_name) FROM request WHERE cluster_name > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- name: request_creators
-- Like task_names, of the initiators of requests.
WITH RECURSIVE found (name) AS (
    SELECT min(creator) FROM request
    UNION ALL
    SELECT (SELECT min(creator) FROM request WHERE creator > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- part: unsuccessful_requests
-- The requests that are not SUCCESSFUL, with the status that `status_of` in model/requests.py gives them. An index has
-- their task instances.
WITH unsuccessful AS NOT MATERIALIZED (
    SELECT request_id AS id,
           CASE WHEN bool_or(status = 'RUNNING' AND held_by IS DISTINCT FROM 'MAX_FAILURES') THEN 'RUNNING'
                WHEN bool_or(status = 'RUNNING') THEN 'STOPPED'
                WHEN bool_or(status = 'FAILED') THEN 'FAILED'
                ELSE 'ROLLED_BACK' END AS status
    FROM task_instance
    WHERE request_id IS NOT NULL AND (status <> 'SUCCESSFUL' OR operation = 'ROLLBACK')
    GROUP BY request_id
)

-- part: request_filter
WHERE (%(workflow)s::text IS NULL OR workflow = %(workflow)s)
  AND (%(clusters)s::text[] IS NULL OR cluster_name = ANY(%(clusters)s))
  AND (%(creators)s::text[] IS NULL OR creator = ANY(%(creators)s))
  AND (%(start_after)s::timestamptz IS NULL OR create_time >= %(start_after)s)
  AND (%(start_before)s::timestamptz IS NULL OR create_time < %(start_before)s)
  AND (%(host_id)s::bigint IS NULL
       OR id = ANY(ARRAY(SELECT request_id FROM task_instance WHERE host_id = %(host_id)s)))
  AND (%(host_names)s::text[] IS NULL
       OR id = ANY(ARRAY(SELECT request_id FROM task_instance WHERE host_name = ANY(%(host_names)s))))
  AND (%(statuses)s::text[] IS NULL
       OR CASE WHEN 'SUCCESSFUL' = ANY(%(statuses)s)
               THEN id NOT IN (SELECT u.id FROM unsuccessful u WHERE u.status <> ALL(%(statuses)s))
               ELSE id = ANY(ARRAY(SELECT u.id FROM unsuccessful u WHERE u.status = ANY(%(statuses)s))) END)

-- name: request_ids_descending
-- include: unsuccessful_requests
SELECT id FROM request
-- include: request_filter
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: request_ids_ascending
-- include: unsuccessful_requests
SELECT id FROM request
-- include: request_filter
ORDER BY id LIMIT %(size)s OFFSET %(offset)s;

-- name: count_requests
-- include: unsuccessful_requests
SELECT count(*) AS total FROM request
-- include: request_filter
;

-- name: host_counts_of_requests
-- The task instances of requests, by the facts that decide the state of a host.
SELECT t.request_id, t.status, t.operation, t.held_by, t.superseded_by IS NOT NULL AS superseded,
       r.ident IS NOT NULL AS has_run, q.cluster_id,
       coalesce(t.context -> 'stringMap' ->> 'check_mode' = 'true', false) AS is_check,
       count(*) AS total, max(t.finish_time) AS last_end
FROM task_instance t JOIN request q ON q.id = t.request_id
LEFT JOIN run r ON r.task_instance_id = t.id AND r.finish_time IS NULL
WHERE t.request_id = ANY(%(request_ids)s)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

-- name: hosts_of_request
-- The task instances of a request in its order, with their running or failed subtask and its error message, and the
-- messages of all failed subtasks of a check. With `task_ids`, only these.
SELECT t.id AS task_id, t.host_id, t.host_name, t.status, t.operation, t.held_by,
       t.superseded_by IS NOT NULL AS superseded, n.start_time, t.finish_time,
       EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run,
       q.cluster_id, coalesce(t.context -> 'stringMap' ->> 'check_mode' = 'true', false) AS is_check,
       n.done, n.subtasks, current.name AS subtask, failure.content AS reason, found.findings
FROM task_instance t JOIN request q ON q.id = t.request_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.status = 'SUCCESSFUL') AS done, count(*) AS subtasks,
           min(s.start_time) AS start_time
    FROM subtask_instance s WHERE s.task_instance_id = t.id
) AS n
LEFT JOIN LATERAL (
    SELECT s.id, s.name, s.status FROM subtask_instance s
    WHERE s.task_instance_id = t.id AND s.status IN ('RUNNING', 'CANCELING', 'FAILED')
    ORDER BY s.status = 'FAILED', s.id LIMIT 1
) AS current ON true
LEFT JOIN LATERAL (
    SELECT l.content FROM subtask_log l
    WHERE l.subtask_id = current.id AND current.status = 'FAILED'
      AND NOT starts_with(l.content, 'Set state for subtask: ')
    ORDER BY l.id DESC LIMIT 1
) AS failure ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('subtask', s.name, 'message', l.content) ORDER BY s.id) AS findings
    FROM subtask_instance s CROSS JOIN LATERAL (
        SELECT content FROM subtask_log
        WHERE subtask_id = s.id AND NOT starts_with(content, 'Set state for subtask: ')
        ORDER BY id DESC LIMIT 1
    ) AS l
    WHERE s.task_instance_id = t.id AND s.status = 'FAILED'
) AS found ON t.context -> 'stringMap' ->> 'check_mode' = 'true'
WHERE t.request_id = %(request_id)s AND (%(task_ids)s::bigint[] IS NULL OR t.id = ANY(%(task_ids)s))
ORDER BY t.position;

-- name: passed_checks_of_request
-- The checks that allow a takeover now. A skipped subtask has checked nothing, and after a day the password is deleted
-- (delete_useless_secrets). A retry of a takeover from before the check may have succeeded since.
SELECT t.* FROM task_instance t
WHERE t.request_id = %(request_id)s AND t.context -> 'stringMap' ->> 'check_mode' = 'true'
  AND t.status = 'SUCCESSFUL' AND t.superseded_by IS NULL AND t.finish_time > now() - interval '24 hours'
  AND NOT EXISTS (SELECT FROM subtask_instance s WHERE s.task_instance_id = t.id AND s.operation = 'SKIP')
  AND NOT EXISTS (
      SELECT FROM obproxy_server o
      WHERE o.host_id = t.host_id AND o.sql_port::text = t.context -> 'stringMap' ->> 'sql_port'
        AND o.status <> 'TAKINGOVER'
  )
ORDER BY t.position;

-- name: remove_waiting_job
-- Delete the job of a task instance that no worker has taken, held or not, unless a run of a worker that is gone may be
-- alive.
DELETE FROM procrastinate_jobs
WHERE status = 'todo' AND (args ->> 'task_instance_id')::bigint = %(task_id)s
  AND NOT EXISTS (SELECT FROM run WHERE task_instance_id = %(task_id)s AND finish_time IS NULL)
RETURNING id;

-- name: versions_of_request
-- The number of the last change of each document of a request's task instances, and the facts that decide its state.
SELECT t.id, c.number, t.status, t.operation, t.held_by,
       t.superseded_by IS NOT NULL AS superseded, q.cluster_id,
       EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run,
       coalesce(t.context -> 'stringMap' ->> 'check_mode' = 'true', false) AS is_check
FROM task_instance t JOIN request q ON q.id = t.request_id JOIN task_change c ON c.task_instance_id = t.id
WHERE t.request_id = %(request_id)s;

-- name: changes_of_request
-- The changes on the hosts of a request, in the order of their subtasks. With `task_ids`, only those of these.
SELECT s.task_instance_id, s.changes
FROM task_instance t JOIN subtask_instance s ON s.task_instance_id = t.id
WHERE t.request_id = %(request_id)s AND s.changes IS NOT NULL
  AND (%(task_ids)s::bigint[] IS NULL OR t.id = ANY(%(task_ids)s))
ORDER BY s.id;

-- name: claim_request_announcement
-- A row once for each end of a request.
UPDATE request SET announced_end = %(end)s
WHERE id = %(request_id)s AND announced_end IS DISTINCT FROM %(end)s
RETURNING id;
