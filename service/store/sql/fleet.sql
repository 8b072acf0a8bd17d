-- name: insert_servers
-- OBProxy servers about to be taken over; one that a failed takeover left behind is used again.
INSERT INTO obproxy_server (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status, operate_status)
SELECT %(cluster_id)s, %(cluster_name)s, h.host_id, h.host_name, h.ip, h.sql_port, 'TAKINGOVER', 'OPERATING'
FROM unnest(%(host_ids)s::bigint[], %(host_names)s::text[], %(ips)s::text[], %(sql_ports)s::integer[])
     AS h (host_id, host_name, ip, sql_port)
ORDER BY h.host_id, h.sql_port
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

-- name: subtasks
-- The subtasks of some task instances in DAG order, each with the ids around it.
SELECT s.*,
       ARRAY(SELECT d.upstream_id FROM subtask_dependency d WHERE d.downstream_id = s.id ORDER BY 1) AS upstreams,
       ARRAY(SELECT d.downstream_id FROM subtask_dependency d WHERE d.upstream_id = s.id ORDER BY 1) AS downstreams
FROM subtask_instance s
WHERE s.task_instance_id = ANY(%(task_ids)s)
ORDER BY s.task_instance_id, s.id;

-- name: server
SELECT * FROM obproxy_server WHERE id = %(server_id)s;

-- name: remove_server
-- A takeover that was rolled back leaves no OBProxy server.
DELETE FROM obproxy_server WHERE id = %(server_id)s AND status = 'TAKINGOVER';

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

-- name: server_at
-- Locked, so that a task instance inserted next is the newest of this OBProxy server.
SELECT * FROM obproxy_server WHERE host_id = %(host_id)s AND sql_port = %(sql_port)s FOR UPDATE;

-- name: unmanage_server
-- A rollback by hand has undone what made it managed; what is left of it goes as after a rollback of this service.
UPDATE obproxy_server SET status = 'TAKINGOVER', operate_status = 'OPERATING', update_time = now()
WHERE id = %(server_id)s;

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
-- A superseded task instance is not open work.
SELECT status, count(*) AS number FROM task_instance
WHERE status IN ('RUNNING', 'FAILED') AND superseded_by IS NULL GROUP BY status;

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
