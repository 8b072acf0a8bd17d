-- name: running_tasks
-- Running task instances of the asked-for hosts.
SELECT id, host_id FROM task_instance WHERE status = 'RUNNING' AND host_id = ANY(%(host_ids)s) ORDER BY host_id;

-- name: insert_tasks
-- One task instance a host; a host that got a running one meanwhile is missing from the answer.
-- Their ids follow the order of the request, their insertion the order of hosts: so racing requests cannot deadlock.
WITH numbered AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('task_instance', 'id')) AS id, t.* FROM (
        SELECT * FROM unnest(%(host_ids)s::bigint[], %(host_names)s::text[], %(server_ids)s::bigint[],
                             %(contexts)s::jsonb[])
             WITH ORDINALITY AS t (host_id, host_name, server_id, context, position)
        ORDER BY position
    ) AS t
)
INSERT INTO task_instance
    (id, name, creator, creator_id, executor, host_id, host_name, obproxy_server_id, context, trace_id)
OVERRIDING SYSTEM VALUE
SELECT id, %(name)s, %(creator)s, %(creator_id)s, %(executor)s, host_id, host_name, server_id, context, %(trace_id)s
FROM numbered
ORDER BY host_id
ON CONFLICT (host_id) WHERE status = 'RUNNING' DO NOTHING
RETURNING id, host_id;

-- name: insert_subtasks
-- The subtasks of every new task instance, in DAG order; the first is READY.
INSERT INTO subtask_instance
    (task_instance_id, role, series_id, class_name, name, description, status, prohibit_rollback, timeout)
SELECT task_id, s.role, s.series_id, s.class_name, s.name, s.name,
       CASE WHEN s.position = 1 THEN 'READY'::subtask_status ELSE 'PENDING' END, s.prohibit_rollback, s.timeout
FROM unnest(%(task_ids)s::bigint[]) WITH ORDINALITY AS t (task_id, task_position)
CROSS JOIN unnest(%(roles)s::text[], %(series_ids)s::integer[], %(class_names)s::text[], %(names)s::text[],
                  %(prohibit_rollbacks)s::boolean[], %(timeouts)s::integer[])
     WITH ORDINALITY AS s (role, series_id, class_name, name, prohibit_rollback, timeout, position)
ORDER BY t.task_position, s.position;

-- name: insert_dependencies
-- Each subtask's upstream is the one made before it in the same task instance.
INSERT INTO subtask_dependency (upstream_id, downstream_id)
SELECT upstream_id, id
FROM (
    SELECT id, lag(id) OVER (PARTITION BY task_instance_id ORDER BY id) AS upstream_id
    FROM subtask_instance WHERE task_instance_id = ANY(%(task_ids)s)
) AS chain
WHERE upstream_id IS NOT NULL;

-- name: insert_secrets
INSERT INTO task_secret (task_instance_id, name, ciphertext)
SELECT * FROM unnest(%(task_ids)s::bigint[], %(names)s::text[], %(ciphertexts)s::bytea[]);

-- name: task
SELECT * FROM task_instance WHERE id = %(task_id)s;

-- name: lock_task
-- Locks a task instance for a transaction that changes its state or its subtasks; first its OBProxy server, whose lock
-- decides which task instance is the newest. Every transaction locks OBProxy servers by host and port, then task
-- instances.
WITH server AS MATERIALIZED (
    SELECT s.id FROM obproxy_server s
    WHERE s.id = (SELECT obproxy_server_id FROM task_instance WHERE id = %(task_id)s)
    FOR UPDATE
)
SELECT * FROM task_instance WHERE id = %(task_id)s AND (SELECT count(*) FROM server) >= 0 FOR UPDATE OF task_instance;

-- name: superseded_by_tasks
SELECT id FROM task_instance WHERE superseded_by = ANY(%(task_ids)s) ORDER BY id;

-- name: tasks_by_id
SELECT * FROM task_instance WHERE id = ANY(%(task_ids)s) ORDER BY id;

-- name: basic_subtasks
SELECT id, task_instance_id, name, description, status, operation FROM subtask_instance
WHERE task_instance_id = ANY(%(task_ids)s)
ORDER BY task_instance_id, id;

-- name: task_names
-- The names that contain a text, whatever their case. Each is found by one look into the index, since there are few.
WITH RECURSIVE found (name) AS (
    SELECT min(name) FROM task_instance
    UNION ALL
    SELECT (SELECT min(t.name) FROM task_instance t WHERE t.name > found.name) FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE strpos(lower(name), lower(%(text)s)) > 0;

-- name: task_ids_descending
SELECT id FROM task_instance
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s)
  AND (%(superseded)s::boolean IS NULL OR (superseded_by IS NOT NULL) = %(superseded)s)
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: task_ids_ascending
SELECT id FROM task_instance
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s)
  AND (%(superseded)s::boolean IS NULL OR (superseded_by IS NOT NULL) = %(superseded)s)
ORDER BY id LIMIT %(size)s OFFSET %(offset)s;

-- name: count_tasks
SELECT count(*) AS total FROM task_instance
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s)
  AND (%(superseded)s::boolean IS NULL OR (superseded_by IS NOT NULL) = %(superseded)s);

-- name: subtask_of_task
SELECT id FROM subtask_instance WHERE id = %(subtask_id)s AND task_instance_id = %(task_id)s;

-- name: log_after
SELECT id, content FROM subtask_log WHERE subtask_id = %(subtask_id)s AND id > %(after)s ORDER BY id;

-- name: delete_secrets
DELETE FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: move_subtask
-- One transition, at `moment` or now; no row when the subtask is not in the position it was seen in.
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

-- name: resume_task
-- A failed task instance goes on; a host that has a running one meanwhile makes this fail.
UPDATE task_instance SET status = 'RUNNING', operation = %(operation)s, finish_time = NULL
WHERE id = %(task_id)s AND status = 'FAILED';

-- name: job_of_task
-- The job that is being done for a task instance.
SELECT id FROM procrastinate_jobs
WHERE status = 'doing' AND (args ->> 'task_instance_id')::bigint = %(task_id)s;

-- name: finish_task
UPDATE task_instance SET status = %(status)s, finish_time = coalesce(%(moment)s, now())
WHERE id = %(task_id)s AND status = 'RUNNING';

-- name: append_log
INSERT INTO subtask_log (subtask_id, run_time, content)
SELECT l.subtask_id, l.run_time, l.content
FROM unnest(%(subtask_ids)s::bigint[], %(run_times)s::integer[], %(contents)s::text[])
     WITH ORDINALITY AS l (subtask_id, run_time, content, position)
ORDER BY l.position;

-- name: claim_key
-- Takes an idempotency key; no row when it was taken less than 24 hours ago.
INSERT INTO idempotency_key (creator, key, fingerprint) VALUES (%(creator)s, %(key)s, %(fingerprint)s)
ON CONFLICT (creator, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, task_ids = '{}', create_time = now()
    WHERE idempotency_key.create_time < now() - interval '24 hours'
RETURNING key;

-- name: idempotency_key
SELECT fingerprint, task_ids FROM idempotency_key WHERE creator = %(creator)s AND key = %(key)s;

-- name: keep_key
UPDATE idempotency_key SET task_ids = %(task_ids)s WHERE creator = %(creator)s AND key = %(key)s;

-- name: log_of_task
-- Everything the subtasks of a task instance said, for its diagnosis.
SELECT l.subtask_id, l.run_time, l.content FROM subtask_log l
JOIN subtask_instance s ON s.id = l.subtask_id
WHERE s.task_instance_id = %(task_id)s
ORDER BY l.subtask_id, l.run_time, l.id;

-- name: restart_asked
-- Whether a takeover into an OBProxy cluster, at work or waiting, may restart its OBProxy because its request says so.
SELECT EXISTS (
    SELECT FROM task_instance
    WHERE status = 'RUNNING' AND context -> 'stringMap' ->> 'obproxy_allow_restart' = 'true'
      AND context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text
) AS asked;

-- name: waits_for
-- The task instances that are at work while this one is queued: those that hold its host's lock, and those of its
-- OBProxy cluster, which it waits for when that may only have so many.
SELECT t.id, other.lock = mine.lock AS same_host
FROM procrastinate_jobs mine
JOIN procrastinate_jobs other ON other.status = 'doing' AND other.id <> mine.id
JOIN task_instance t ON t.id = (other.args ->> 'task_instance_id')::bigint
WHERE mine.status = 'todo' AND (mine.args ->> 'task_instance_id')::bigint = %(task_id)s
  AND (other.lock = mine.lock
       OR t.context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text)
ORDER BY t.id;

-- name: set_external
-- A new task instance is to record a run that was started by hand.
UPDATE task_instance SET type = 'EXTERNAL', operation = %(operation)s, start_time = %(start_time)s
WHERE id = %(task_id)s;

-- name: set_subtasks
-- The position in which such a run has found its subtasks.
UPDATE subtask_instance s SET status = p.status, operation = p.operation
FROM unnest(%(roles)s::text[], %(statuses)s::subtask_status[], %(operations)s::operation[])
     AS p (role, status, operation)
WHERE s.task_instance_id = %(task_id)s AND s.role = p.role;

-- name: count_tasks_by_status
-- Open work: a superseded task instance is none.
SELECT status, count(*) AS total FROM task_instance
WHERE status IN ('RUNNING', 'FAILED') AND superseded_by IS NULL GROUP BY status;

-- name: log_attempts
-- The lines that start each execution in a subtask's log (docs/reference/task-engine.md 3.8).
SELECT id, content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND starts_with(content, '############{')
ORDER BY id;

-- name: last_words
SELECT content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND NOT starts_with(content, 'Set state for subtask: ')
ORDER BY id DESC LIMIT 1;

-- name: log_between
SELECT id, content FROM subtask_log
WHERE subtask_id = %(subtask_id)s AND id > %(after)s AND (%(until)s::bigint IS NULL OR id < %(until)s)
ORDER BY id LIMIT %(limit)s;
