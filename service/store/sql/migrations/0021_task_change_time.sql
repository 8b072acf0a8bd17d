-- The time of the last change of each document. A trigger, so that a process of the previous version writes it as well.
ALTER TABLE task_change ADD COLUMN time timestamptz;

CREATE FUNCTION set_task_change_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.time := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TRIGGER task_change_time BEFORE INSERT OR UPDATE ON task_change
    FOR EACH ROW EXECUTE FUNCTION set_task_change_time();
