-- name: upsert_servers
-- The OBProxy servers of a takeover. A server that a failed takeover left behind is used again; a managed one returns
-- no row.
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

-- name: managed_servers_by_host_and_port
-- The managed servers among those at the given hosts and ports.
SELECT s.id, s.host_id, s.sql_port, s.cluster_name
FROM obproxy_server s
JOIN unnest(%(host_ids)s::bigint[], %(sql_ports)s::integer[]) AS h (host_id, sql_port) USING (host_id, sql_port)
WHERE s.status <> 'TAKINGOVER'
ORDER BY s.host_id;

-- name: server_by_id
SELECT * FROM obproxy_server WHERE id = %(server_id)s;

-- name: delete_server_in_status
-- A server that is not managed any more: its takeover was rolled back, or its deletion has succeeded.
DELETE FROM obproxy_server WHERE id = %(server_id)s AND status = %(status)s;

-- name: update_server_facts
-- Server facts from a run's events: named columns, and all of them in `learned`.
UPDATE obproxy_server
SET learned          = learned || %(values)s::jsonb,
    version          = coalesce(%(values)s::jsonb ->> 'version', version),
    architecture     = coalesce(%(values)s::jsonb ->> 'architecture', architecture),
    exporter_port    = CASE WHEN %(values)s::jsonb ? 'exporter_port' THEN (%(values)s::jsonb ->> 'exporter_port')::integer
                            ELSE exporter_port END,
    last_active_time = now(),
    update_time      = now()
WHERE id = %(server_id)s;

-- name: mark_server_managed
UPDATE obproxy_server
SET status = 'RUNNING', operate_status = 'NORMAL', last_active_time = now(), update_time = now()
WHERE id = %(server_id)s AND (NOT %(only_operating)s OR operate_status = 'OPERATING');

-- name: mark_server_managed_again
-- A workflow that has failed leaves the server managed: health checks and discoveries find its status.
UPDATE obproxy_server SET status = 'RUNNING', operate_status = 'NORMAL', update_time = now()
WHERE id = %(server_id)s AND status = ANY(%(statuses)s::server_status[]);

-- name: lock_server_by_host_and_port
-- Locks the server, so that a task instance inserted next is its newest.
SELECT * FROM obproxy_server WHERE host_id = %(host_id)s AND sql_port = %(sql_port)s FOR UPDATE;

-- name: mark_servers_operating
-- A workflow is done to the servers.
UPDATE obproxy_server SET status = %(status)s, operate_status = 'OPERATING', update_time = now()
WHERE id = ANY(%(server_ids)s);

-- name: lock_servers
-- In the order in which every transaction locks them.
SELECT * FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port FOR UPDATE;

-- name: hosts_of_servers
SELECT host_id FROM obproxy_server WHERE id = ANY(%(server_ids)s);

-- name: clusters_with_servers
SELECT DISTINCT ON (cluster_id) cluster_id, cluster_name FROM obproxy_server ORDER BY cluster_id, id DESC;

-- name: servers_of_clusters
SELECT * FROM obproxy_server WHERE cluster_id = ANY(%(cluster_ids)s) ORDER BY id;

-- name: servers_of_hosts
SELECT * FROM obproxy_server WHERE host_id = ANY(%(host_ids)s) ORDER BY sql_port;

-- name: latest_tasks_of_hosts
-- Without checks that have ended, which have changed nothing.
SELECT t.id, h.id AS subject_id, t.status, t.operation, t.start_time, t.superseded_by, t.held_by,
       EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run
FROM unnest(%(host_ids)s::bigint[]) AS h (id)
CROSS JOIN LATERAL (
    SELECT * FROM task_instance
    WHERE host_id = h.id AND (status = 'RUNNING' OR context -> 'stringMap' ->> 'check_mode' IS DISTINCT FROM 'true')
    ORDER BY id DESC LIMIT 1
) AS t;

-- name: reached_hosts
-- Hosts that a task instance has reached: one of its subtasks has run there and succeeded.
SELECT h.id
FROM unnest(%(host_ids)s::bigint[]) AS h (id)
WHERE EXISTS (
    SELECT FROM task_instance t JOIN subtask_instance s ON s.task_instance_id = t.id
    WHERE t.host_id = h.id AND s.status = 'SUCCESSFUL' AND s.operation IN ('EXECUTE', 'RETRY', 'ROLLBACK')
);

-- name: latest_tasks_of_servers
SELECT t.id, s.id AS subject_id, t.status, t.operation, t.start_time, t.superseded_by, t.held_by,
       EXISTS (SELECT FROM run r WHERE r.task_instance_id = t.id AND r.finish_time IS NULL) AS has_run
FROM unnest(%(server_ids)s::bigint[]) AS s (id)
CROSS JOIN LATERAL (SELECT * FROM task_instance WHERE obproxy_server_id = s.id ORDER BY id DESC LIMIT 1) AS t;

-- name: managed_servers_of_hosts
SELECT * FROM obproxy_server WHERE host_id = ANY(%(host_ids)s) AND status <> 'TAKINGOVER' ORDER BY sql_port;

-- name: update_managed_server_facts
-- Server facts from a discovery, for a managed server; see update_server_facts. Unchanged facts write nothing. The time
-- and the error of a discovery do not change the server.
UPDATE obproxy_server
SET learned      = learned || %(values)s::jsonb,
    version      = coalesce(%(values)s::jsonb ->> 'version', version),
    architecture = coalesce(%(values)s::jsonb ->> 'architecture', architecture),
    update_time  = CASE WHEN (learned || %(values)s::jsonb) - ARRAY['discovered', 'discovery_error']
                             <> learned - ARRAY['discovered', 'discovery_error'] THEN now() ELSE update_time END
WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE') AND learned || %(values)s::jsonb <> learned;

-- name: server_with_parameters
-- The stored facts of a server, which the caller has locked, to compare them with those of a discovery.
SELECT s.learned, p.settings, to_jsonb(now()) #>> '{}' AS now
FROM obproxy_server s LEFT JOIN server_parameters p ON p.server_id = s.id
WHERE s.id = %(server_id)s;

-- name: upsert_server_parameters
-- The complete output of SHOW PROXYCONFIG. Unchanged output writes nothing.
INSERT INTO server_parameters AS known (server_id, settings, definitions)
SELECT id, %(settings)s, %(definitions)s FROM obproxy_server WHERE id = %(server_id)s
ON CONFLICT (server_id) DO UPDATE
    SET settings = excluded.settings, definitions = excluded.definitions, update_time = now()
    WHERE (known.settings, known.definitions) IS DISTINCT FROM (excluded.settings, excluded.definitions);

-- name: merge_server_parameters
-- Some parameters that a run has changed.
UPDATE server_parameters SET settings = settings || %(settings)s, update_time = now() WHERE server_id = %(server_id)s;

-- name: parameter_values_of_cluster
-- Each parameter of a cluster's servers, with each of its values, the most frequent first, and the servers that have
-- it.
SELECT p.name, p.value, array_agg(s.ip ORDER BY s.id) AS ips
FROM obproxy_server s
JOIN server_parameters k ON k.server_id = s.id
CROSS JOIN LATERAL jsonb_each_text(k.settings) AS p (name, value)
WHERE s.cluster_id = %(cluster_id)s
GROUP BY p.name, p.value
ORDER BY count(*) DESC, p.value;

-- name: parameter_definitions_of_cluster
-- Parameter definitions of a cluster's servers: one server per version, the one read last at the end.
SELECT definitions FROM (
    SELECT DISTINCT ON (s.version) k.definitions, k.update_time
    FROM obproxy_server s JOIN server_parameters k ON k.server_id = s.id
    WHERE s.cluster_id = %(cluster_id)s
    ORDER BY s.version, k.update_time DESC
) AS newest
ORDER BY update_time;

-- name: parameter_definitions_by_version
-- Parameter definitions and values of one server per version; the build is not part of the version.
SELECT DISTINCT ON (split_part(s.version, '-', 1))
    split_part(s.version, '-', 1) AS version, k.definitions, k.settings
FROM obproxy_server s JOIN server_parameters k ON k.server_id = s.id
WHERE s.version IS NOT NULL
ORDER BY split_part(s.version, '-', 1), k.update_time DESC;

-- name: servers_with_exporter
SELECT * FROM obproxy_server WHERE exporter_port IS NOT NULL AND status <> 'TAKINGOVER' ORDER BY id;
