-- The list of task instances by host, initiator, OBProxy cluster and time. There are many of them and few names.
CREATE INDEX task_instance_host_name ON task_instance (host_name, id DESC);
CREATE INDEX task_instance_creator ON task_instance (creator, id DESC);
CREATE INDEX task_instance_cluster_name
    ON task_instance ((context -> 'stringMap' ->> 'obproxy_cluster_name'), id DESC);
CREATE INDEX task_instance_start ON task_instance (start_time);
