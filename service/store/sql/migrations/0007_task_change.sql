-- When the document of each task instance has changed last, in the numbers that its log's rows have too: whoever has
-- seen everything up to a number can say so by it, whichever of the two it was.
CREATE TABLE task_change (
    task_instance_id bigint PRIMARY KEY REFERENCES task_instance ON DELETE CASCADE,
    number           bigint NOT NULL
);

INSERT INTO task_change (task_instance_id, number) SELECT id, nextval('subtask_log_id_seq') FROM task_instance;
