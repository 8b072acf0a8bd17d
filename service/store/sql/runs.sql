-- name: insert_run
INSERT INTO run (ident, task_instance_id, executor) VALUES (%(ident)s, %(task_id)s, %(executor)s);

-- name: unfinished_runs
SELECT ident FROM run WHERE task_instance_id = %(task_id)s AND finish_time IS NULL;

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
-- dead. The stamp changes in any case: the transaction may have begun before the last renewal, and the clock may have
-- been set back.
UPDATE run SET batch = %(batch)s, finish_time = CASE WHEN %(ended)s THEN now() END, rc = %(rc)s,
               renewed = CASE WHEN now() > renewed THEN now() ELSE renewed + interval '1 microsecond' END
WHERE ident = %(ident)s AND finish_time IS NULL AND batch < %(batch)s
RETURNING ident;

-- name: batch_of_run
SELECT batch FROM run WHERE ident = %(ident)s;

-- name: leases
SELECT ident::text, renewed FROM run WHERE finish_time IS NULL;

-- name: lock_runs
-- The unfinished runs of a task instance, and whether each still has the stamp with which its lease expired. Nobody
-- renews them until the transaction ends.
SELECT ident::text, EXISTS (
    SELECT FROM unnest(%(idents)s::uuid[], %(stamps)s::timestamptz[]) AS expired (ident, renewed)
    WHERE expired.ident = run.ident AND expired.renewed = run.renewed
) AS expired
FROM run WHERE task_instance_id = %(task_id)s AND finish_time IS NULL
FOR NO KEY UPDATE OF run;

-- name: finish_runs_of_task
UPDATE run SET finish_time = now() WHERE task_instance_id = %(task_id)s AND finish_time IS NULL RETURNING ident;

-- name: lock_cluster
-- Whoever counts the runs of an OBProxy cluster does so alone, until its transaction ends.
SELECT pg_advisory_xact_lock(2104, hashtext(%(cluster_id)s::text));

-- name: runs_of_cluster
SELECT count(*) AS alive FROM run r JOIN task_instance t ON t.id = r.task_instance_id
WHERE r.finish_time IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest(%(idents)s::uuid[], %(stamps)s::timestamptz[]) AS expired (ident, renewed)
      WHERE expired.ident = r.ident AND expired.renewed = r.renewed
  )
  AND t.context -> 'stringMap' ->> 'obproxy_cluster_id' = %(cluster_id)s::text;

-- name: lock_run
-- Whoever records a run that was started by hand does so alone, until its transaction ends.
SELECT pg_advisory_xact_lock(2106, hashtext(%(ident)s::text));

-- name: insert_ended_run
INSERT INTO run (ident, task_instance_id, executor, start_time, finish_time, rc)
VALUES (%(ident)s, %(task_id)s, %(executor)s, %(start_time)s, %(finish_time)s, %(rc)s);

-- name: task_of_run
SELECT t.id, t.type, t.host_id FROM run r JOIN task_instance t ON t.id = r.task_instance_id WHERE r.ident = %(ident)s;
