-- What the runs of a subtask have changed on the host: a list of {what, name, before, after, needs_restart, operation,
-- run_time}, in the order of the changes.
ALTER TABLE subtask_instance ADD COLUMN changes jsonb;
