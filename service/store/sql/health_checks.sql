-- name: claim_health_check_round
-- Claim a round of health checks for one worker; no row when no round is due. `before` is the start of the last round.
-- A start in the future counts too, since the clock of the database may have been set back.
UPDATE server_check_round r SET started = now()
FROM (SELECT started FROM server_check_round FOR UPDATE) AS last
WHERE last.started
      NOT BETWEEN now() - make_interval(secs => %(interval)s) AND now() + make_interval(secs => %(interval)s)
RETURNING last.started AS before;

-- name: servers_to_health_check
SELECT s.id, s.ip, s.sql_port, coalesce(c.answered, false) AS answered
FROM obproxy_server s LEFT JOIN server_check c ON c.server_id = s.id
WHERE s.status IN ('RUNNING', 'UNAVAILABLE');

-- name: mark_servers_answering
-- Set the servers that answered to RUNNING; returns those that were not. Updates the time of the last answer only when
-- it is older than `min_age` seconds.
WITH former AS (
    SELECT id, status, last_active_time FROM obproxy_server
    WHERE id = ANY(%(server_ids)s) AND status IN ('RUNNING', 'UNAVAILABLE')
      AND (status <> 'RUNNING' OR last_active_time IS NULL
           OR last_active_time < now() - make_interval(secs => %(min_age)s))
    ORDER BY host_id, sql_port FOR UPDATE
), changed AS (
    UPDATE obproxy_server s
    SET status = 'RUNNING', last_active_time = now(),
        update_time = CASE WHEN former.status = 'RUNNING' THEN s.update_time ELSE now() END
    FROM former WHERE s.id = former.id
)
SELECT id FROM former WHERE status <> 'RUNNING';

-- name: record_servers_answered
INSERT INTO server_check (server_id, answered)
SELECT id, true FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET answered = true;

-- name: mark_servers_unavailable
-- Set servers that no longer answer to UNAVAILABLE; returns those that were not. Their last answer was in the round
-- before.
UPDATE obproxy_server s
SET status = 'UNAVAILABLE', update_time = now(),
    last_active_time = greatest(s.last_active_time, %(before)s)
FROM (
    SELECT id FROM obproxy_server WHERE id = ANY(%(server_ids)s) AND status = 'RUNNING'
    ORDER BY host_id, sql_port FOR UPDATE
) AS former
WHERE s.id = former.id
  -- A discovery may have found out, after the round began, that the port is not reachable from the service.
  AND EXISTS (SELECT FROM server_check c WHERE c.server_id = s.id AND c.answered)
RETURNING s.id;

-- name: request_discovery
-- Put servers in front of all others in discovery.
INSERT INTO server_check (server_id, answered, looked)
SELECT id, true, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET looked = 'epoch';

-- name: request_first_discovery
-- The same for servers without any health check result: silent since their takeover, or behind a firewall.
INSERT INTO server_check (server_id, looked)
SELECT id, 'epoch' FROM obproxy_server WHERE id = ANY(%(server_ids)s) ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO NOTHING;

-- name: claim_servers_for_discovery
-- Claim servers whose last discovery is older than `interval` seconds, the oldest first: at most `limit`, or up to
-- `limit_when_requested` while discovery is requested. As for a round, one in the future counts too.
INSERT INTO server_check (server_id)
SELECT id FROM (SELECT s.id, s.host_id, s.sql_port FROM obproxy_server s LEFT JOIN server_check c ON c.server_id = s.id
WHERE s.status IN ('RUNNING', 'UNAVAILABLE')
  AND coalesce(c.looked, s.create_time)
      NOT BETWEEN now() - make_interval(secs => %(interval)s) AND now() + make_interval(secs => %(interval)s)
ORDER BY coalesce(c.looked, s.create_time), s.id
LIMIT greatest(%(limit)s, least(%(limit_when_requested)s, (SELECT count(*) FROM server_check WHERE looked = 'epoch')))
) AS due
ORDER BY host_id, sql_port
ON CONFLICT (server_id) DO UPDATE SET looked = now()
RETURNING server_id;

-- name: server_for_discovery
SELECT * FROM obproxy_server WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE');

-- name: time_now
SELECT now() AS moment;

-- name: runs_of_server_since
-- Runs that work on a server, or have ended since a discovery of it began.
SELECT r.ident FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE t.obproxy_server_id = %(server_id)s AND (r.finish_time IS NULL OR r.finish_time >= %(began)s);

-- name: mark_discovered_server_running
-- The discovery found OBProxy running. If the health check failed before, the SQL port is not reachable from the
-- service, so the health check is ignored from now on. The caller has locked the server.
WITH former AS (
    SELECT id, status FROM obproxy_server WHERE id = %(server_id)s AND status IN ('RUNNING', 'UNAVAILABLE')
), unreachable AS (
    UPDATE server_check c SET answered = false FROM former WHERE c.server_id = former.id AND former.status <> 'RUNNING'
), changed AS (
    UPDATE obproxy_server s
    SET status = 'RUNNING', last_active_time = now(),
        update_time = CASE WHEN former.status = 'RUNNING' THEN s.update_time ELSE now() END
    FROM former WHERE s.id = former.id
)
SELECT id FROM former WHERE status <> 'RUNNING';

-- name: mark_undiscovered_server_unavailable
-- The discovery did not find OBProxy. Only the health check decides about a server whose SQL port is reachable.
UPDATE obproxy_server s SET status = 'UNAVAILABLE', update_time = now()
WHERE s.id = %(server_id)s AND s.status = 'RUNNING'
  AND NOT EXISTS (SELECT FROM server_check c WHERE c.server_id = s.id AND c.answered)
RETURNING s.id;
