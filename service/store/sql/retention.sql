-- part: is_history
-- A later task instance of the host exists, and no operation is possible (`read_only` in model/transitions.py).
  EXISTS (SELECT FROM task_instance n WHERE n.host_id = t.host_id AND n.id > t.id)
  AND (t.status <> 'FAILED' OR t.superseded_by IS NOT NULL OR t.type = 'EXTERNAL'
       OR (t.obproxy_server_id IS NULL AND t.context -> 'stringMap' ->> 'check_mode' IS DISTINCT FROM 'true'))

-- name: delete_old_logs
-- Logs of task instances that ended before the retention period and that cannot be resumed.
DELETE FROM subtask_log l USING subtask_instance s, task_instance t
WHERE s.id = l.subtask_id AND t.id = s.task_instance_id AND t.finish_time < now() - make_interval(days => %(days)s)
  AND (t.status = 'SUCCESSFUL' OR (
-- include: is_history
  ));

-- name: delete_old_tasks
-- Task instances that ended before the retention period, except the newest of each host and those that can be resumed.
-- Locked rows are left for the next run, since waiting for them could deadlock.
DELETE FROM task_instance WHERE id IN (
    SELECT t.id FROM task_instance t
    WHERE t.finish_time < now() - make_interval(days => %(days)s)
      AND
-- include: is_history
    FOR UPDATE SKIP LOCKED
);

-- name: delete_useless_secrets
-- Passwords that no operation can use: those of superseded task instances, and of checks that were passed a day ago. The
-- end of a takeover removes its own.
DELETE FROM task_secret s USING task_instance t
WHERE t.id = s.task_instance_id
  AND (t.superseded_by IS NOT NULL
       OR (t.context -> 'stringMap' ->> 'check_mode' = 'true' AND t.status = 'SUCCESSFUL'
           AND t.finish_time < now() - interval '24 hours'));

-- name: delete_empty_requests
-- Requests whose task instances were all deleted.
DELETE FROM request WHERE id IN (
    SELECT q.id FROM request q WHERE NOT EXISTS (SELECT FROM task_instance t WHERE t.request_id = q.id)
    FOR UPDATE SKIP LOCKED
);

-- name: delete_old_idempotency_keys
DELETE FROM idempotency_key WHERE (creator, key) IN (
    SELECT creator, key FROM idempotency_key WHERE create_time < now() - interval '24 hours'
    FOR UPDATE SKIP LOCKED
);

-- name: delete_old_audit_events
DELETE FROM audit_event WHERE id IN (
    SELECT id FROM audit_event WHERE time < now() - make_interval(days => %(days)s) FOR UPDATE SKIP LOCKED
);

-- name: delete_discoveries_of_removed_hosts
-- Discoveries of hosts that left the inventory. A host that was discovered in the last 24 hours is kept: an inventory
-- script may leave it out for some time.
DELETE FROM host_discovery WHERE host_id IN (
    SELECT host_id FROM host_discovery
    WHERE host_id <> ALL(%(host_ids)s) AND request_time < now() - interval '24 hours'
    FOR UPDATE SKIP LOCKED
);
