-- name: request_host_discoveries
-- The request is later than the last discovery, even when the clock of the database was set back.
INSERT INTO host_discovery (host_id, request_time, requester)
SELECT host_id, now(), %(requester)s FROM unnest(%(host_ids)s::bigint[]) AS h (host_id) ORDER BY host_id
ON CONFLICT (host_id) DO UPDATE
SET request_time = greatest(excluded.request_time, host_discovery.start_time + interval '1 microsecond'),
    requester = excluded.requester;

-- name: hosts_with_queued_discovery
-- Hosts whose discovery is queued and has not started. The caller has locked their rows.
SELECT (args ->> 'host_id')::bigint AS host_id FROM procrastinate_jobs
WHERE queue_name = %(queue)s AND status = 'todo' AND (args ->> 'host_id')::bigint = ANY(%(host_ids)s);

-- name: host_discoveries
SELECT *, start_time IS NULL OR start_time < request_time AS pending FROM host_discovery
WHERE host_id = ANY(%(host_ids)s);

-- name: host_discovery_times
SELECT host_id, request_time, start_time FROM host_discovery WHERE host_id = ANY(%(host_ids)s);

-- name: pending_host_discoveries
-- The number of hosts whose discovery is requested and has not ended; of all hosts when `host_ids` is null.
SELECT count(*) AS total FROM host_discovery
WHERE (start_time IS NULL OR start_time < request_time)
  AND (%(host_ids)s::bigint[] IS NULL OR host_id = ANY(%(host_ids)s));

-- name: host_discoveries_without_job
-- Hosts whose discovery is requested, has not ended and is neither queued nor running.
SELECT d.host_id FROM host_discovery d
WHERE (d.start_time IS NULL OR d.start_time < d.request_time)
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs j
      WHERE j.queue_name = %(queue)s AND j.status IN ('todo', 'doing')
        AND (j.args ->> 'host_id')::bigint = d.host_id
  )
ORDER BY d.host_id FOR UPDATE SKIP LOCKED;

-- name: host_discoveries_since
SELECT host_id FROM host_discovery WHERE request_time >= %(moment)s OR finish_time >= %(moment)s;

-- name: start_of_host_discovery
-- The time of a discovery that starts now: not before its request, even when the clock of the database was set back.
SELECT greatest(clock_timestamp(), max(request_time), max(start_time)) AS moment
FROM host_discovery WHERE host_id = %(host_id)s;

-- name: database_time
SELECT clock_timestamp() AS moment;

-- name: record_host_discovery
-- The result of a discovery that started at `start_time`, unless that of a later one is recorded.
UPDATE host_discovery
SET start_time = %(start_time)s, finish_time = clock_timestamp(), outcome = %(outcome)s, message = %(message)s,
    rules = %(rules)s, obproxies = %(obproxies)s
WHERE host_id = %(host_id)s AND (start_time IS NULL OR start_time <= %(start_time)s);
