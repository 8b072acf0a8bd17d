-- The list of requests by workflow, OBProxy cluster, initiator and time. There are many of them and few names.
CREATE INDEX request_workflow ON request (workflow);
CREATE INDEX request_cluster_name ON request (cluster_name);
CREATE INDEX request_creator ON request (creator);
CREATE INDEX request_create_time ON request (create_time);
-- The task instances that decide the status of a request, unless all of its hosts are completed.
CREATE INDEX task_instance_unsuccessful ON task_instance (request_id, status, operation, held_by)
    WHERE status <> 'SUCCESSFUL' OR operation = 'ROLLBACK';
