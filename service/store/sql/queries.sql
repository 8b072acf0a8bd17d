-- name: insert_servers
-- OBProxy servers about to be taken over; one that a failed takeover left behind is used again.
INSERT INTO obproxy_server (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status, operate_status)
SELECT %(cluster_id)s, %(cluster_name)s, h.host_id, h.host_name, h.ip, h.sql_port, 'TAKINGOVER', 'OPERATING'
FROM unnest(%(host_ids)s::bigint[], %(host_names)s::text[], %(ips)s::text[], %(sql_ports)s::integer[])
     AS h (host_id, host_name, ip, sql_port)
ON CONFLICT (host_id, sql_port) DO UPDATE
    SET cluster_id = excluded.cluster_id, cluster_name = excluded.cluster_name, host_name = excluded.host_name,
        ip = excluded.ip, status = 'TAKINGOVER', operate_status = 'OPERATING', update_time = now()
    WHERE obproxy_server.status = 'TAKINGOVER'
RETURNING id, host_id, parameter_version;

-- name: managed_servers
-- Those of the asked-for proxies that this service manages already.
SELECT s.id, s.host_id, s.sql_port, s.cluster_name
FROM obproxy_server s
JOIN unnest(%(host_ids)s::bigint[], %(sql_ports)s::integer[]) AS h (host_id, sql_port) USING (host_id, sql_port)
WHERE s.status <> 'TAKINGOVER'
ORDER BY s.host_id;

-- name: running_tasks
-- Running task instances of the asked-for hosts.
SELECT id, host_id FROM task_instance WHERE status = 'RUNNING' AND host_id = ANY(%(host_ids)s) ORDER BY host_id;

-- name: insert_tasks
-- One task instance a host; a host that got a running one meanwhile is missing from the answer.
INSERT INTO task_instance (name, creator, creator_id, executor, host_id, host_name, obproxy_server_id, context, trace_id)
SELECT %(name)s, %(creator)s, %(creator_id)s, %(executor)s, t.host_id, t.host_name, t.server_id, t.context, %(trace_id)s
FROM unnest(%(host_ids)s::bigint[], %(host_names)s::text[], %(server_ids)s::bigint[], %(contexts)s::jsonb[])
     WITH ORDINALITY AS t (host_id, host_name, server_id, context, position)
ORDER BY t.position
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
-- Held for the length of a transaction that changes the state of a task instance or its subtasks.
SELECT * FROM task_instance WHERE id = %(task_id)s FOR UPDATE;

-- name: tasks_by_id
SELECT * FROM task_instance WHERE id = ANY(%(task_ids)s) ORDER BY id;

-- name: subtasks
-- The subtasks of some task instances in DAG order, each with the ids around it.
SELECT s.*,
       ARRAY(SELECT d.upstream_id FROM subtask_dependency d WHERE d.downstream_id = s.id ORDER BY 1) AS upstreams,
       ARRAY(SELECT d.downstream_id FROM subtask_dependency d WHERE d.upstream_id = s.id ORDER BY 1) AS downstreams
FROM subtask_instance s
WHERE s.task_instance_id = ANY(%(task_ids)s)
ORDER BY s.task_instance_id, s.id;

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
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: task_ids_ascending
SELECT id FROM task_instance
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s)
ORDER BY id LIMIT %(size)s OFFSET %(offset)s;

-- name: count_tasks
SELECT count(*) AS total FROM task_instance
WHERE (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
  AND (%(statuses)s::task_status[] IS NULL OR status = ANY(%(statuses)s))
  AND (%(type)s::text IS NULL OR type = %(type)s)
  AND (%(host_id)s::bigint IS NULL OR host_id = %(host_id)s);

-- name: subtask_of_task
SELECT id FROM subtask_instance WHERE id = %(subtask_id)s AND task_instance_id = %(task_id)s;

-- name: log_after
SELECT id, content FROM subtask_log WHERE subtask_id = %(subtask_id)s AND id > %(after)s ORDER BY id;

-- name: server
SELECT * FROM obproxy_server WHERE id = %(server_id)s;

-- name: secrets
SELECT name, ciphertext FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: delete_secrets
DELETE FROM task_secret WHERE task_instance_id = %(task_id)s;

-- name: insert_run
INSERT INTO run (ident, task_instance_id, executor) VALUES (%(ident)s, %(task_id)s, %(executor)s);

-- name: renew_runs
-- The runs that a worker still holds, whether each was renewed, and whether somebody wants it ended. A run that is just
-- being reported is passed over: its report renews it, and neither waits for the other or keeps it waiting.
WITH free AS (
    SELECT ident FROM run WHERE ident = ANY(%(idents)s::uuid[]) AND finish_time IS NULL FOR NO KEY UPDATE SKIP LOCKED
), renewed AS (
    UPDATE run SET renewed = now() FROM free WHERE run.ident = free.ident RETURNING run.ident
)
SELECT r.ident::text, n.ident IS NOT NULL AS renewed, EXISTS (
    SELECT FROM subtask_instance s WHERE s.task_instance_id = r.task_instance_id AND s.status = 'CANCELING'
) AS canceling
FROM run r LEFT JOIN renewed n ON n.ident = r.ident
WHERE r.ident = ANY(%(idents)s::uuid[]) AND r.finish_time IS NULL;

-- name: write_run
-- The next report of a run, which renews it; no row when it was written before, or when another worker took the run for
-- dead. The transaction may have begun before the last renewal.
UPDATE run SET batch = %(batch)s, finish_time = CASE WHEN %(ended)s THEN now() END, rc = %(rc)s,
               renewed = greatest(renewed, now())
WHERE ident = %(ident)s AND finish_time IS NULL AND batch < %(batch)s
RETURNING ident;

-- name: batch_of_run
SELECT batch FROM run WHERE ident = %(ident)s;

-- name: held_runs
-- Runs of a task instance that some worker renews.
SELECT ident FROM run
WHERE task_instance_id = %(task_id)s AND finish_time IS NULL
  AND renewed >= now() - make_interval(secs => %(dead_after)s);

-- name: finish_runs_of_task
UPDATE run SET finish_time = now() WHERE task_instance_id = %(task_id)s AND finish_time IS NULL RETURNING ident;

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

-- name: remove_server
-- A takeover that was rolled back leaves no OBProxy server.
DELETE FROM obproxy_server WHERE id = %(server_id)s AND status = 'TAKINGOVER';

-- name: finish_task
UPDATE task_instance SET status = %(status)s, finish_time = coalesce(%(moment)s, now())
WHERE id = %(task_id)s AND status = 'RUNNING';

-- name: append_log
INSERT INTO subtask_log (subtask_id, run_time, content)
SELECT l.subtask_id, l.run_time, l.content
FROM unnest(%(subtask_ids)s::bigint[], %(run_times)s::integer[], %(contents)s::text[])
     WITH ORDINALITY AS l (subtask_id, run_time, content, position)
ORDER BY l.position;

-- name: learn_server
-- What a run found out about its proxy; named columns and the whole in `learned`.
UPDATE obproxy_server
SET learned          = learned || %(values)s::jsonb,
    version          = coalesce(%(values)s::jsonb ->> 'version', version),
    architecture     = coalesce(%(values)s::jsonb ->> 'architecture', architecture),
    exporter_port    = coalesce((%(values)s::jsonb ->> 'exporter_port')::integer, exporter_port),
    last_active_time = now(),
    update_time      = now()
WHERE id = %(server_id)s;

-- name: server_taken_over
UPDATE obproxy_server
SET status = 'RUNNING', operate_status = 'NORMAL', last_active_time = now(), update_time = now()
WHERE id = %(server_id)s;

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

-- name: unfinished_tasks_without_job
-- Running task instances that no job of the queue stands for any more: their worker died and so did their job.
SELECT t.id, t.host_id FROM task_instance t
WHERE t.status = 'RUNNING'
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs j
      WHERE j.status IN ('todo', 'doing') AND (j.args ->> 'task_instance_id')::bigint = t.id
  )
ORDER BY t.id;

-- name: try_to_recover
-- One worker at a time looks for what the dead have left: two could put a job back that one of them does by then.
SELECT pg_try_advisory_xact_lock(2105, 0) AS mine;

-- name: ping
SELECT 1 AS alive;

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

-- name: delete_old_logs
-- Logs of task instances that ended long ago and that nobody can go on with.
DELETE FROM subtask_log l USING subtask_instance s, task_instance t
WHERE s.id = l.subtask_id AND t.id = s.task_instance_id AND t.finish_time < now() - make_interval(days => %(days)s)
  AND (t.status = 'SUCCESSFUL' OR EXISTS (
      SELECT FROM task_instance n WHERE n.host_id = t.host_id AND n.id > t.id
  ));

-- name: delete_old_tasks
-- The same for the task instances themselves; the newest of a host stays, whatever became of it.
DELETE FROM task_instance t
WHERE t.finish_time < now() - make_interval(days => %(days)s)
  AND EXISTS (SELECT FROM task_instance n WHERE n.host_id = t.host_id AND n.id > t.id);

-- name: delete_old_keys
DELETE FROM idempotency_key WHERE create_time < now() - interval '24 hours';

-- name: lock_cluster
-- Whoever counts the runs of an OBProxy cluster does so alone, until its transaction ends.
SELECT pg_advisory_xact_lock(2104, hashtext(%(cluster_id)s::text));

-- name: runs_of_cluster
SELECT count(*) AS alive FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE r.finish_time IS NULL AND r.renewed >= now() - make_interval(secs => %(dead_after)s)
  AND t.context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text;

-- name: restart_asked
-- Whether a takeover into an OBProxy cluster, at work or waiting, may restart its OBProxy because its request says so.
SELECT EXISTS (
    SELECT FROM task_instance
    WHERE status = 'RUNNING' AND context -> 'stringMap' ->> 'obproxy_allow_restart' = 'true'
      AND context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text
) AS asked;

-- name: user_by_name
SELECT id, name, password_hash, roles, enabled FROM user_account WHERE name = %(name)s;

-- name: users
SELECT id, name, password_hash, roles, enabled FROM user_account ORDER BY id;

-- name: insert_user
INSERT INTO user_account (name, password_hash, roles)
VALUES (%(name)s, %(password_hash)s, %(roles)s)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: insert_admin
INSERT INTO user_account (id, name, password_hash, roles)
VALUES (%(id)s, %(name)s, %(password_hash)s, %(roles)s)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: set_password
UPDATE user_account SET password_hash = %(password_hash)s, update_time = now() WHERE name = %(name)s RETURNING id;

-- name: set_user_enabled
UPDATE user_account SET enabled = %(enabled)s, update_time = now() WHERE name = %(name)s RETURNING id;

-- name: lock_user
-- So that of several access keys made at once none is one too many.
SELECT id FROM user_account WHERE name = %(name)s FOR UPDATE;

-- name: count_access_keys
SELECT count(*) AS total FROM access_key WHERE user_id = %(user_id)s;

-- name: insert_access_key
INSERT INTO access_key (id, user_id, ciphertext) VALUES (%(id)s, %(user_id)s, %(ciphertext)s);

-- name: set_access_key_enabled
UPDATE access_key SET enabled = %(enabled)s WHERE id = %(id)s RETURNING id;

-- name: access_keys
SELECT k.id, u.name AS user_name, k.enabled, k.create_time
FROM access_key k JOIN user_account u ON u.id = k.user_id
ORDER BY u.id, k.create_time, k.id;

-- name: access_key
-- The key of a signed request and whose it is, when both may be used.
SELECT k.ciphertext, u.id, u.name, u.password_hash, u.roles, u.enabled
FROM access_key k JOIN user_account u ON u.id = k.user_id
WHERE k.id = %(id)s AND k.enabled AND u.enabled;

-- name: use_signature
-- A row the first time; what would not be let through anyway is forgotten.
WITH forgotten AS (DELETE FROM used_signature WHERE expires < now() - interval '1 minute')
INSERT INTO used_signature (access_key_id, digest, expires)
VALUES (%(id)s, %(digest)s, %(expires)s)
ON CONFLICT DO NOTHING
RETURNING digest;

-- name: count_login_failure
INSERT INTO login_failure (kind, name, failures, last) VALUES (%(kind)s, %(name)s, 1, now())
ON CONFLICT (kind, name) DO UPDATE
    SET failures = CASE WHEN login_failure.last < now() - %(blocked_for)s::interval THEN 1
                        ELSE login_failure.failures + 1 END,
        last = now()
RETURNING failures;

-- name: login_failures
SELECT failures FROM login_failure
WHERE kind = %(kind)s AND name = %(name)s AND last >= now() - %(blocked_for)s::interval;

-- name: forget_login_failures
DELETE FROM login_failure WHERE kind = 'user' AND name = %(name)s;

-- name: forget_old_login_failures
DELETE FROM login_failure WHERE last < now() - interval '1 day';

-- name: insert_audit_event
INSERT INTO audit_event (user_name, client, method, path, status, trace_id)
VALUES (%(user_name)s, %(client)s, %(method)s, %(path)s, %(status)s, %(trace_id)s)
ON CONFLICT (client, status, date_trunc('minute', time AT TIME ZONE 'UTC')) WHERE user_name IS NULL
    DO UPDATE SET calls = audit_event.calls + 1;

-- name: audit_events
SELECT * FROM audit_event
WHERE %(user_name)s::text IS NULL OR user_name = %(user_name)s
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: count_audit_events
SELECT count(*) AS total FROM audit_event WHERE %(user_name)s::text IS NULL OR user_name = %(user_name)s;

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

-- name: lock_run
-- Whoever records a run that was started by hand does so alone, until its transaction ends.
SELECT pg_advisory_xact_lock(2106, hashtext(%(ident)s::text));

-- name: insert_ended_run
INSERT INTO run (ident, task_instance_id, executor, start_time, finish_time, rc)
VALUES (%(ident)s, %(task_id)s, %(executor)s, %(start_time)s, %(finish_time)s, %(rc)s);

-- name: task_of_run
SELECT t.id, t.type, t.host_id FROM run r JOIN task_instance t ON t.id = r.task_instance_id WHERE r.ident = %(ident)s;

-- name: server_at
SELECT * FROM obproxy_server WHERE host_id = %(host_id)s AND sql_port = %(sql_port)s;

-- name: unmanage_server
-- A rollback by hand has undone what made it managed; what is left of it goes as after a rollback of this service.
UPDATE obproxy_server SET status = 'TAKINGOVER', operate_status = 'OPERATING', update_time = now()
WHERE id = %(server_id)s;

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

-- name: clusters_of_servers
SELECT DISTINCT ON (cluster_id) cluster_id, cluster_name FROM obproxy_server ORDER BY cluster_id, id DESC;

-- name: servers_of_clusters
SELECT * FROM obproxy_server WHERE cluster_id = ANY(%(cluster_ids)s) ORDER BY cluster_id, id;

-- name: servers_of_hosts
SELECT * FROM obproxy_server WHERE host_id = ANY(%(host_ids)s) ORDER BY host_id, sql_port;

-- name: last_tasks_of_hosts
SELECT t.id, h.id AS about, t.status, t.operation, t.start_time
FROM unnest(%(host_ids)s::bigint[]) AS h (id)
CROSS JOIN LATERAL (SELECT * FROM task_instance WHERE host_id = h.id ORDER BY id DESC LIMIT 1) AS t;

-- name: last_tasks_of_servers
SELECT t.id, s.id AS about, t.status, t.operation, t.start_time
FROM unnest(%(server_ids)s::bigint[]) AS s (id)
CROSS JOIN LATERAL (SELECT * FROM task_instance WHERE obproxy_server_id = s.id ORDER BY id DESC LIMIT 1) AS t;

-- name: managed_servers_of_hosts
SELECT * FROM obproxy_server WHERE host_id = ANY(%(host_ids)s) AND status <> 'TAKINGOVER' ORDER BY host_id, sql_port;

-- name: lock_secrets
-- While secrets are encrypted anew nobody writes one; who reads them does not wait.
LOCK TABLE access_key, task_secret IN EXCLUSIVE MODE;

-- name: every_secret
-- Each with its place: which table, and its primary key there.
SELECT 'access_key ' || id AS place, ciphertext FROM access_key
UNION ALL
SELECT 'task_secret ' || task_instance_id || ' ' || name, ciphertext FROM task_secret;

-- name: renew_access_keys
UPDATE access_key k SET ciphertext = n.ciphertext
FROM unnest(%(places)s::text[], %(ciphertexts)s::bytea[]) AS n (place, ciphertext)
WHERE n.place = 'access_key ' || k.id;

-- name: renew_task_secrets
UPDATE task_secret s SET ciphertext = n.ciphertext
FROM unnest(%(places)s::text[], %(ciphertexts)s::bytea[]) AS n (place, ciphertext)
WHERE n.place = 'task_secret ' || s.task_instance_id || ' ' || s.name;

-- name: insert_session
-- What has run out is forgotten on the way.
WITH forgotten AS (DELETE FROM session WHERE expires < now())
INSERT INTO session (digest, user_id, expires)
VALUES (%(digest)s, %(user_id)s, now() + make_interval(hours => %(hours)s));

-- name: session_user
SELECT u.id, u.name, u.password_hash, u.roles, u.enabled
FROM session s JOIN user_account u ON u.id = s.user_id
WHERE s.digest = %(digest)s AND s.expires > now() AND u.enabled;

-- name: delete_session
DELETE FROM session WHERE digest = %(digest)s;

-- name: delete_sessions_of_user
DELETE FROM session s USING user_account u WHERE u.id = s.user_id AND u.name = %(name)s;

-- name: count_tasks_by_status
SELECT status, count(*) AS total FROM task_instance WHERE status IN ('RUNNING', 'FAILED') GROUP BY status;

-- name: log_attempts
-- The lines that start each execution in a subtask's log (facts/ocp-api.md 3.8).
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
    ORDER BY id FOR UPDATE
), changed AS (
    UPDATE obproxy_server s
    SET status = 'RUNNING', last_active_time = now(),
        update_time = CASE WHEN former.status = 'RUNNING' THEN s.update_time ELSE now() END
    FROM former WHERE s.id = former.id
)
SELECT id FROM former WHERE status <> 'RUNNING';

-- name: remember_answered
INSERT INTO server_check (server_id, answered)
SELECT id, true FROM obproxy_server WHERE id = ANY(%(server_ids)s)
ON CONFLICT (server_id) DO UPDATE SET answered = true;

-- name: servers_silent
-- What is silent although it used to answer is UNAVAILABLE; it was last seen in the round before. Gives those that
-- were not.
UPDATE obproxy_server s
SET status = 'UNAVAILABLE', update_time = now(),
    last_active_time = greatest(s.last_active_time, %(before)s)
FROM (
    SELECT id FROM obproxy_server WHERE id = ANY(%(server_ids)s) AND status = 'RUNNING' ORDER BY id FOR UPDATE
) AS former
WHERE s.id = former.id
  -- A look may have found out since the round began that its silence says nothing.
  AND EXISTS (SELECT FROM server_check c WHERE c.server_id = s.id AND c.answered)
RETURNING s.id;

-- name: owe_looks
-- Servers that are to be looked at before all others.
INSERT INTO server_check (server_id, answered, looked)
SELECT id, true, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s)
ON CONFLICT (server_id) DO UPDATE SET looked = 'epoch';

-- name: owe_first_looks
-- The same of those that nothing is known of yet: silent since they were taken over, or behind a firewall.
INSERT INTO server_check (server_id, looked)
SELECT id, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s)
ON CONFLICT (server_id) DO NOTHING;

-- name: due_for_a_look
-- Some of the servers whose host was not asked for so long, those that have waited longest first; more of them as long
-- as there are some that are to be looked at before all others.
INSERT INTO server_check (server_id)
SELECT s.id FROM obproxy_server s LEFT JOIN server_check c ON c.server_id = s.id
WHERE s.status IN ('RUNNING', 'UNAVAILABLE')
  AND coalesce(c.looked, s.create_time) < now() - make_interval(secs => %(interval)s)
ORDER BY coalesce(c.looked, s.create_time), s.id
LIMIT greatest(%(most)s, least(%(most_owed)s, (SELECT count(*) FROM server_check WHERE looked = 'epoch')))
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

-- name: learn_managed_server
-- What a look at the host found out about a server that nobody is taking over; see learn_server.
UPDATE obproxy_server
SET learned      = learned || %(values)s::jsonb,
    version      = coalesce(%(values)s::jsonb ->> 'version', version),
    architecture = coalesce(%(values)s::jsonb ->> 'architecture', architecture),
    update_time  = now()
WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE') AND learned || %(values)s::jsonb <> learned;

-- name: keep_parameters
-- All that SHOW PROXYCONFIG of an OBProxy server has said; written only when something has changed.
INSERT INTO server_parameters AS known (server_id, settings, definitions)
SELECT id, %(settings)s, %(definitions)s FROM obproxy_server WHERE id = %(server_id)s
ON CONFLICT (server_id) DO UPDATE
    SET settings = excluded.settings, definitions = excluded.definitions, update_time = now()
    WHERE (known.settings, known.definitions) IS DISTINCT FROM (excluded.settings, excluded.definitions);

-- name: change_parameters
-- Some parameters that were set.
UPDATE server_parameters SET settings = settings || %(settings)s, update_time = now() WHERE server_id = %(server_id)s;

-- name: parameters_of_cluster
-- Each parameter of an OBProxy cluster's servers with each of its values, the commonest first, and who has that.
SELECT p.name, p.value, array_agg(s.ip ORDER BY s.id) AS ips
FROM obproxy_server s
JOIN server_parameters k ON k.server_id = s.id
CROSS JOIN LATERAL jsonb_each_text(k.settings) AS p (name, value)
WHERE s.cluster_id = %(cluster_id)s
GROUP BY p.name, p.value
ORDER BY p.name, count(*) DESC, p.value;

-- name: definitions_of_cluster
-- What an OBProxy cluster's servers say of their parameters: of each version one, the one looked at last at the end.
SELECT definitions FROM (
    SELECT DISTINCT ON (s.version) k.definitions, k.update_time
    FROM obproxy_server s JOIN server_parameters k ON k.server_id = s.id
    WHERE s.cluster_id = %(cluster_id)s
    ORDER BY s.version, k.update_time DESC
) AS newest
ORDER BY update_time;

-- name: definitions_by_version
-- The same of all servers, by version without the build, each with that server's values.
SELECT DISTINCT ON (split_part(s.version, '-', 1))
    split_part(s.version, '-', 1) AS version, k.definitions, k.settings
FROM obproxy_server s JOIN server_parameters k ON k.server_id = s.id
WHERE s.version IS NOT NULL
ORDER BY split_part(s.version, '-', 1), k.update_time DESC;

-- name: servers_with_exporter
SELECT * FROM obproxy_server WHERE exporter_port IS NOT NULL AND status <> 'TAKINGOVER' ORDER BY id;

-- name: queue_now
SELECT count(DISTINCT j.id) AS waiting, coalesce(extract(epoch FROM now() - min(e.at)), 0) AS oldest
FROM procrastinate_jobs j LEFT JOIN procrastinate_events e ON e.job_id = j.id AND e.type = 'deferred'
WHERE j.status = 'todo' AND j.queue_name = %(queue)s AND j.task_name = %(task_name)s;

-- name: task_instances_now
SELECT status, count(*) AS number FROM task_instance WHERE status IN ('RUNNING', 'FAILED') GROUP BY status;

-- name: subtasks_now
SELECT s.status, count(*) AS number
FROM subtask_instance s JOIN task_instance t ON t.id = s.task_instance_id
WHERE t.status = 'RUNNING' GROUP BY s.status;

-- name: runs_now
SELECT count(*) AS alive, coalesce(extract(epoch FROM now() - min(renewed)), 0) AS oldest
FROM run WHERE finish_time IS NULL;

-- name: workers_now
SELECT count(*) AS workers, coalesce(extract(epoch FROM now() - max(last_heartbeat)), 0) AS youngest
FROM procrastinate_workers;

-- name: servers_now
SELECT cluster_name AS cluster, status, count(*) AS servers,
       count(*) FILTER (WHERE jsonb_array_length(coalesce(learned -> 'pending_restart', '[]')) > 0) AS pending
FROM obproxy_server GROUP BY cluster_name, status ORDER BY cluster_name, status;

-- name: last_round
SELECT extract(epoch FROM now() - started) AS age FROM server_check_round;

-- name: delete_old_audit_events
DELETE FROM audit_event WHERE time < now() - make_interval(days => %(days)s);
