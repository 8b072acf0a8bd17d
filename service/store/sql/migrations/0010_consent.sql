-- Whether a takeover is to be alone in its OBProxy cluster, because a request allows it a restart. Few ever do.
CREATE INDEX task_instance_restart ON task_instance ((context -> 'stringMap' ->> 'obproxy_cluster_id'))
    WHERE status = 'RUNNING' AND context -> 'stringMap' ->> 'obproxy_allow_restart' = 'true';
