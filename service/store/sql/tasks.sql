-- name: running_tasks
SELECT id, host_id FROM task_instance WHERE status = 'RUNNING' AND host_id = ANY(%(host_ids)s) ORDER BY host_id;

-- name: hosts_with_task_change_since
-- Hosts with a task instance that is running, or has ended since a moment, and whose document has changed since.
SELECT DISTINCT t.host_id
FROM task_instance t JOIN task_change c ON c.task_instance_id = t.id
WHERE (t.status = 'RUNNING' OR t.finish_time >= %(moment)s) AND c.time >= %(moment)s;

-- name: insert_tasks
-- One task instance per host; a host that has a running one returns no row. Ids follow the order of the request.
-- Insertion follows the order of hosts, so that concurrent requests cannot deadlock.
WITH numbered AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('task_instance', 'id')) AS id, t.* FROM (
        SELECT * FROM unnest(%(host_ids)s::bigint[], %(host_names)s::text[], %(server_ids)s::bigint[],
                             %(contexts)s::jsonb[])
             WITH ORDINALITY AS t (host_id, host_name, server_id, context, position)
        ORDER BY position
    ) AS t
)
INSERT INTO task_instance
    (id, workflow, name, prohibit_rollback, creator, creator_id, executor, host_id, host_name, obproxy_server_id,
     context, trace_id, request_id, position, held_by)
OVERRIDING SYSTEM VALUE
SELECT id, %(workflow)s, %(name)s, %(prohibit_rollback)s, %(creator)s, %(creator_id)s, %(executor)s, host_id, host_name,
       server_id, context, %(trace_id)s, %(request_id)s::bigint, position, %(held_by)s
FROM numbered
ORDER BY host_id
ON CONFLICT (host_id) WHERE status = 'RUNNING' DO NOTHING
RETURNING id, host_id;

-- name: insert_subtasks
-- The subtasks of each new task instance, in DAG order; the first is READY.
INSERT INTO subtask_instance
    (task_instance_id, role, series_id, class_name, name, description, status, prohibit_rollback, timeout)
SELECT task_id, s.role, s.series_id, s.class_name, s.name, s.name,
       CASE WHEN s.position = 1 THEN 'READY'::subtask_status ELSE 'PENDING' END, s.prohibit_rollback, s.timeout
FROM unnest(%(task_ids)s::bigint[]) WITH ORDINALITY AS t (task_id, task_position)
CROSS JOIN unnest(%(roles)s::text[], %(series_ids)s::integer[], %(class_names)s::text[], %(names)s::text[],
                  %(prohibit_rollbacks)s::boolean[], %(timeouts)s::integer[])
     WITH ORDINALITY AS s (role, series_id, class_name, name, prohibit_rollback, timeout, position)
ORDER BY t.task_position, s.position;

-- name: insert_subtask_dependencies
-- The upstream of each subtask is the subtask before it in the same task instance.
INSERT INTO subtask_dependency (upstream_id, downstream_id)
SELECT upstream_id, id
FROM (
    SELECT id, lag(id) OVER (PARTITION BY task_instance_id ORDER BY id) AS upstream_id
    FROM subtask_instance WHERE task_instance_id = ANY(%(task_ids)s)
) AS chain
WHERE upstream_id IS NOT NULL;

-- name: insert_task_secrets
INSERT INTO task_secret (task_instance_id, name, ciphertext)
SELECT * FROM unnest(%(task_ids)s::bigint[], %(names)s::text[], %(ciphertexts)s::bytea[]);

-- name: task_by_id
SELECT * FROM task_instance WHERE id = %(task_id)s;

-- name: lock_task
-- Locks the OBProxy server, then its task instance. The lock on the server decides which task instance is the newest.
-- To avoid deadlocks, every transaction locks OBProxy servers by host and port, then task instances.
WITH server AS MATERIALIZED (
    SELECT s.id FROM obproxy_server s
    WHERE s.id = (SELECT obproxy_server_id FROM task_instance WHERE id = %(task_id)s)
    FOR UPDATE
)
SELECT * FROM task_instance WHERE id = %(task_id)s AND (SELECT count(*) FROM server) >= 0 FOR UPDATE OF task_instance;

-- name: supersede_checks
-- A later task instance for the same SQL port of a host supersedes the checks, which have no OBProxy server.
UPDATE task_instance t SET superseded_by = n.id
FROM task_instance n LEFT JOIN obproxy_server s ON s.id = n.obproxy_server_id
WHERE n.id = ANY(%(task_ids)s) AND t.host_id = n.host_id AND t.id < n.id
  AND t.superseded_by IS NULL AND t.status <> 'RUNNING' AND t.context -> 'stringMap' ->> 'check_mode' = 'true'
  AND t.context -> 'stringMap' ->> 'sql_port' = coalesce(n.context -> 'stringMap' ->> 'sql_port', s.sql_port::text);

-- name: copy_task_secrets
INSERT INTO task_secret (task_instance_id, name, ciphertext)
SELECT c.new, s.name, s.ciphertext
FROM unnest(%(old)s::bigint[], %(new)s::bigint[]) AS c (old, new)
JOIN task_secret s ON s.task_instance_id = c.old;

-- name: tasks_superseded_by
SELECT id FROM task_instance WHERE superseded_by = ANY(%(task_ids)s);

-- name: tasks_by_id
SELECT t.*, EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run
FROM task_instance t WHERE t.id = ANY(%(task_ids)s) ORDER BY t.id;

-- name: subtasks_of_tasks
-- Subtasks in DAG order, each with the ids of its upstreams and downstreams.
SELECT s.*,
       ARRAY(SELECT d.upstream_id FROM subtask_dependency d WHERE d.downstream_id = s.id ORDER BY 1) AS upstreams,
       ARRAY(SELECT d.downstream_id FROM subtask_dependency d WHERE d.upstream_id = s.id ORDER BY 1) AS downstreams
FROM subtask_instance s
WHERE s.task_instance_id = ANY(%(task_ids)s)
ORDER BY s.task_instance_id, s.id;

-- name: started_tasks
-- The RUNNING task instances that are not held, of every kind; a host has at most one.
SELECT t.*, EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run
FROM task_instance t WHERE t.status = 'RUNNING' AND t.held_by IS NULL ORDER BY t.id;

-- name: basic_subtasks_of_tasks
SELECT id, task_instance_id, name, description, status, operation FROM subtask_instance
WHERE task_instance_id = ANY(%(task_ids)s)
ORDER BY task_instance_id, id;

-- name: task_names
-- The names that contain a text, in any case. A loose index scan: one index lookup per distinct name.
WITH RECURSIVE found (name) AS (
    SELECT min(name) FROM task_instance
    UNION ALL
    SELECT (SELECT min(t.name) FROM task_instance t WHERE t.name > found.name) FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- name: task_host_names
-- Like task_names, of the hosts.
WITH RECURSIVE found (name) AS (
    SELECT min(host_name) FROM task_instance
    UNION ALL
    SELECT (SELECT min(host_name) FROM task_instance WHERE host_name > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- name: task_cluster_names
-- Like task_names, of the OBProxy clusters.
WITH RECURSIVE found (name) AS (
    SELECT min((context -> 'stringMap' ->> 'obproxy_cluster_name')) FROM task_instance
    UNION ALL
    SELECT (SELECT min((context -> 'stringMap' ->> 'obproxy_cluster_name')) FROM task_instance WHERE (context -> 'stringMap' ->> 'obproxy_cluster_name') > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- name: task_creators
-- Like task_names, of the initiators.
WITH RECURSIVE found (name) AS (
    SELECT min(creator) FROM task_instance
    UNION ALL
    SELECT (SELECT min(creator) FROM task_instance WHERE creator > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- part: task_filter
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s)
  AND (%(host_names)s::text[] IS NULL OR host_name = ANY(%(host_names)s))
  AND (%(clusters)s::text[] IS NULL OR context -> 'stringMap' ->> 'obproxy_cluster_name' = ANY(%(clusters)s))
  AND (%(creators)s::text[] IS NULL OR creator = ANY(%(creators)s))
  AND (%(start_after)s::timestamptz IS NULL OR start_time >= %(start_after)s)
  AND (%(start_before)s::timestamptz IS NULL OR start_time < %(start_before)s)
  AND (%(superseded)s::boolean IS NULL OR (superseded_by IS NOT NULL) = %(superseded)s)
  AND (%(held)s::boolean IS NULL OR (held_by IS NOT NULL) = %(held)s)
  AND (%(held_by)s::text IS NULL OR held_by = %(held_by)s)
  AND (%(rolled_back)s::boolean IS NULL OR (operation = 'ROLLBACK') = %(rolled_back)s)
  AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))

-- name: task_ids_descending
SELECT id FROM task_instance
-- include: task_filter
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: task_ids_ascending
SELECT id FROM task_instance
-- include: task_filter
ORDER BY id LIMIT %(size)s OFFSET %(offset)s;

-- name: task_ids_by_name_ascending
SELECT id FROM task_instance
-- include: task_filter
ORDER BY name, id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: task_ids_by_name_descending
SELECT id FROM task_instance
-- include: task_filter
ORDER BY name DESC, id LIMIT %(size)s OFFSET %(offset)s;

-- name: count_tasks
SELECT count(*) AS total FROM task_instance
-- include: task_filter
;

-- name: subtask_in_task
SELECT id FROM subtask_instance WHERE id = %(subtask_id)s AND task_instance_id = %(task_id)s;

-- name: log_rows_after
SELECT id, content FROM subtask_log WHERE subtask_id = %(subtask_id)s AND id > %(after)s ORDER BY id;

-- name: delete_task_secrets
DELETE FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: transition_subtask
-- One transition, at `moment` or now; no row when the subtask has left the expected position.
UPDATE subtask_instance
SET status      = %(status)s,
    operation   = %(operation)s,
    run_time    = run_time + %(runs)s,
    executor    = CASE WHEN %(status)s::subtask_status = 'RUNNING' THEN %(executor)s ELSE executor END,
    start_time  = CASE WHEN %(status)s::subtask_status = 'RUNNING' THEN coalesce(start_time, %(moment)s, now())
                       ELSE start_time END,
    finish_time = CASE WHEN %(status)s::subtask_status = 'RUNNING' THEN NULL
                       WHEN %(status)s::subtask_status IN ('FAILED', 'SUCCESSFUL', 'PENDING')
                            THEN coalesce(%(moment)s, now())
                       ELSE finish_time END,
    running_since = CASE WHEN %(status)s::subtask_status = 'RUNNING' THEN coalesce(%(moment)s, now())
                         WHEN %(status)s::subtask_status = 'CANCELING' THEN running_since END,
    spent       = CASE WHEN %(status)s::subtask_status IN ('RUNNING', 'CANCELING') THEN spent
                       WHEN %(status)s::subtask_status = 'READY' AND status = 'RUNNING'
                            THEN spent + coalesce(extract(epoch FROM now() - running_since), 0)
                       ELSE 0 END
WHERE id = %(subtask_id)s AND status = %(from_status)s AND operation = %(from_operation)s
RETURNING id;

-- name: append_subtask_changes
-- Appends changes on the host, up to `limit` changes of all executions.
UPDATE subtask_instance SET changes = coalesce(changes, '[]') || %(new)s
WHERE id = %(subtask_id)s AND jsonb_array_length(coalesce(changes, '[]')) < %(limit)s;

-- name: resume_task
-- Violates a unique index when the host has another running task instance. With `held_by`, the task instance is held, and
-- the limit of the rollout does not count its failure.
UPDATE task_instance
SET status = 'RUNNING', operation = %(operation)s, finish_time = NULL, held_by = %(held_by)s::text,
    failure_accepted = CASE WHEN %(held_by)s::text IS NULL THEN failure_accepted ELSE true END
WHERE id = %(task_id)s AND status = 'FAILED';

-- name: running_job_of_task
SELECT id FROM procrastinate_jobs
WHERE status = 'doing' AND (args ->> 'task_instance_id')::bigint = %(task_id)s;

-- name: finish_task
UPDATE task_instance SET status = %(status)s, finish_time = coalesce(%(moment)s, now()), held_by = NULL
WHERE id = %(task_id)s AND status = 'RUNNING';

-- name: insert_subtask_logs
INSERT INTO subtask_log (subtask_id, run_time, content)
SELECT l.subtask_id, l.run_time, l.content
FROM unnest(%(subtask_ids)s::bigint[], %(run_times)s::integer[], %(contents)s::text[])
     WITH ORDINALITY AS l (subtask_id, run_time, content, position)
ORDER BY l.position;

-- name: claim_idempotency_key
-- No row when the idempotency key was claimed less than 24 hours ago.
INSERT INTO idempotency_key (creator, key, fingerprint) VALUES (%(creator)s, %(key)s, %(fingerprint)s)
ON CONFLICT (creator, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, task_ids = '{}', create_time = now()
    WHERE idempotency_key.create_time < now() - interval '24 hours'
RETURNING key;

-- name: idempotency_key
-- The request that claimed the idempotency key within the last 24 hours.
SELECT fingerprint, task_ids FROM idempotency_key
WHERE creator = %(creator)s AND key = %(key)s AND create_time >= now() - interval '24 hours';

-- name: set_idempotency_key_tasks
UPDATE idempotency_key SET task_ids = %(task_ids)s WHERE creator = %(creator)s AND key = %(key)s;

-- name: log_rows_of_task
SELECT l.subtask_id, l.run_time, l.content FROM subtask_log l
JOIN subtask_instance s ON s.id = l.subtask_id
WHERE s.task_instance_id = %(task_id)s
ORDER BY l.subtask_id, l.id;

-- name: restart_requested_in_cluster
-- Whether the request of a running takeover of an OBProxy cluster permits a restart.
SELECT EXISTS (
    SELECT FROM task_instance
    WHERE status = 'RUNNING' AND held_by IS NULL AND context -> 'stringMap' ->> 'obproxy_allow_restart' = 'true'
      AND context -> 'stringMap' ->> 'check_mode' IS DISTINCT FROM 'true'
      AND context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text
) AS requested;

-- name: blocking_tasks
-- The task instances with a job in execution on the same host (queue lock), while the job of the other one is queued.
SELECT t.id, t.host_name, (mine.args ->> 'task_instance_id')::bigint AS blocked_id
FROM procrastinate_jobs other
JOIN procrastinate_jobs mine ON mine.lock = other.lock AND mine.status = 'todo'
JOIN task_instance t ON t.id = (other.args ->> 'task_instance_id')::bigint
WHERE other.status = 'doing' AND (mine.args ->> 'task_instance_id')::bigint = ANY(%(task_ids)s::bigint[]);

-- name: blocked_tasks_of_requests
-- The task instances of requests that `blocking_tasks` finds a task instance for.
SELECT DISTINCT t.id, t.request_id
FROM procrastinate_jobs other
JOIN procrastinate_jobs mine ON mine.lock = other.lock AND mine.status = 'todo'
JOIN task_instance t ON t.id = (mine.args ->> 'task_instance_id')::bigint
WHERE other.status = 'doing' AND other.args ? 'task_instance_id' AND t.request_id = ANY(%(request_ids)s::bigint[]);

-- name: tasks_with_run
-- The task instances with a run in progress, and their OBProxy clusters.
SELECT t.id, t.host_name, (t.context -> 'stringMap' ->> 'obproxy_cluster_id')::bigint AS cluster_id
FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE r.finish_time IS NULL
ORDER BY t.id;

-- name: mark_task_external
-- The task instance records a run that was started by hand.
UPDATE task_instance SET type = 'EXTERNAL', operation = %(operation)s, start_time = %(start_time)s
WHERE id = %(task_id)s;

-- name: skip_subtasks_of_tasks
-- New task instances whose subtasks are to be skipped, all of them.
UPDATE subtask_instance SET operation = 'SKIP' WHERE task_instance_id = ANY(%(task_ids)s);

-- name: set_subtask_positions
-- The positions of the subtasks at the start of such a run.
UPDATE subtask_instance s SET status = p.status, operation = p.operation
FROM unnest(%(roles)s::text[], %(statuses)s::subtask_status[], %(operations)s::operation[])
     AS p (role, status, operation)
WHERE s.task_instance_id = %(task_id)s AND s.role = p.role;

-- name: log_separators_of_subtask
-- The separator lines, one at the start of each execution (docs/reference/task-engine.md 3.8).
SELECT id, content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND starts_with(content, '############{')
ORDER BY id;

-- name: last_log_message_of_subtask
SELECT content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND NOT starts_with(content, 'Set state for subtask: ')
ORDER BY id DESC LIMIT 1;

-- name: log_rows_between
SELECT id, content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND id > %(after)s AND (%(until)s::bigint IS NULL OR id < %(until)s)
ORDER BY id LIMIT %(limit)s;
