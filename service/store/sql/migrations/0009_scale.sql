-- What grows with the history, and is looked for in it; and time limits that outlast a worker.

-- The list of task instances by name. There are many of them and few names.
CREATE INDEX task_instance_name ON task_instance (name, id DESC);

-- Removing a task instance removes its runs: without this each removal would read them all.
CREATE INDEX run_task ON run (task_instance_id);

-- A subtask that a stopping worker has handed back goes on with what it has left of its time.
ALTER TABLE subtask_instance
    ADD COLUMN running_since timestamptz,
    ADD COLUMN spent         double precision NOT NULL DEFAULT 0;  -- seconds, by runs that were handed back
