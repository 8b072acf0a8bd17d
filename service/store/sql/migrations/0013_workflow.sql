-- The workflow of a task instance, by its name in meta/workflows.yml.
ALTER TABLE task_instance ADD COLUMN workflow text NOT NULL DEFAULT 'takeover';
