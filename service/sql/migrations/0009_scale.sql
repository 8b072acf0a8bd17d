-- What grows with the history, and is looked for in it.

-- The list of task instances by name. There are many of them and few names.
CREATE INDEX task_instance_name ON task_instance (name, id DESC);

-- Removing a task instance removes its runs: without this each removal would read them all.
CREATE INDEX run_task ON run (task_instance_id);
