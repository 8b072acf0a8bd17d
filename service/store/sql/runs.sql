-- name: insert_run
INSERT INTO run (ident, task_instance_id, executor) VALUES (%(ident)s, %(task_id)s, %(executor)s);

-- name: unfinished_runs_of_task
SELECT ident FROM run WHERE task_instance_id = %(task_id)s AND finish_time IS NULL;

-- name: renew_leases
-- The unfinished runs of a worker: whether each lease was renewed, and whether a cancellation was requested. A locked
-- run is skipped, since its event batch, which is being written, renews the lease; so neither waits for the other.
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

-- name: record_run_batch
-- Record the next event batch of a run, which also renews its lease. No row when the batch was recorded before, or when
-- another worker has finished the run. The timestamp always changes: the transaction may have begun before the last
-- renewal, and the clock may have been set back.
UPDATE run SET batch = %(batch)s, finish_time = CASE WHEN %(ended)s THEN now() END, rc = %(rc)s,
               renewed = CASE WHEN now() > renewed THEN now() ELSE renewed + interval '1 microsecond' END
WHERE ident = %(ident)s AND finish_time IS NULL AND batch < %(batch)s
RETURNING ident;

-- name: last_batch_of_run
SELECT batch FROM run WHERE ident = %(ident)s;

-- name: run_leases
SELECT ident::text, renewed FROM run WHERE finish_time IS NULL;

-- name: lock_unfinished_runs_of_task
-- The unfinished runs of a task instance, and whether each still has the timestamp with which its lease expired. The
-- lock blocks renewals until the transaction ends.
SELECT ident::text, EXISTS (
    SELECT FROM unnest(%(idents)s::uuid[], %(stamps)s::timestamptz[]) AS expired (ident, renewed)
    WHERE expired.ident = run.ident AND expired.renewed = run.renewed
) AS expired
FROM run WHERE task_instance_id = %(task_id)s AND finish_time IS NULL
FOR NO KEY UPDATE OF run;

-- name: finish_runs_of_task
UPDATE run SET finish_time = now() WHERE task_instance_id = %(task_id)s AND finish_time IS NULL RETURNING ident;

-- name: lock_cluster_concurrency
-- One transaction at a time counts the runs of an OBProxy cluster.
SELECT pg_advisory_xact_lock(2104, hashtext(%(cluster_id)s::text));

-- name: count_leased_runs_of_cluster
-- Runs whose lease has expired are not counted.
SELECT count(*) AS alive FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE r.finish_time IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest(%(idents)s::uuid[], %(stamps)s::timestamptz[]) AS expired (ident, renewed)
      WHERE expired.ident = r.ident AND expired.renewed = r.renewed
  )
  AND t.context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text;

-- name: count_started_tasks_of_cluster
-- The running task instances of an OBProxy cluster, with a run or waiting for one, without checks and held ones.
SELECT count(*) AS total FROM task_instance
WHERE status = 'RUNNING' AND held_by IS NULL AND context -> 'stringMap' ->> 'check_mode' IS DISTINCT FROM 'true'
  AND context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text;

-- name: lock_external_run
-- One transaction at a time records a run that was started by hand.
SELECT pg_advisory_xact_lock(2106, hashtext(%(ident)s::text));

-- name: insert_external_run
INSERT INTO run (ident, task_instance_id, executor, start_time, finish_time, rc)
VALUES (%(ident)s, %(task_id)s, %(executor)s, %(start_time)s, %(finish_time)s, %(rc)s);

-- name: task_of_run
SELECT t.id, t.type, t.host_id FROM run r JOIN task_instance t ON t.id = r.task_instance_id WHERE r.ident = %(ident)s;
