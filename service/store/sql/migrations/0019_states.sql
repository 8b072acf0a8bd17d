-- Lists of the task instances that are rolled back, and of those that are completed.
CREATE INDEX task_instance_state ON task_instance (status, operation, id DESC);
