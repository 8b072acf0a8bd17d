-- Only the newest task instance of an OBProxy server may go on. An older one names its successor. The database decides
-- the order: task instances of one OBProxy server are inserted under the lock of its row.
ALTER TABLE task_instance ADD COLUMN superseded_by bigint;

-- The context keeps the id of an OBProxy server whose row was removed since.
UPDATE task_instance t SET superseded_by = n.successor
FROM (
    SELECT id, lead(id) OVER (PARTITION BY context -> 'stringMap' ->> 'obproxy_server_id' ORDER BY id) AS successor
    FROM task_instance WHERE context -> 'stringMap' ->> 'obproxy_server_id' <> ''
) AS n
WHERE n.id = t.id AND n.successor IS NOT NULL AND t.status <> 'RUNNING';

ALTER TABLE task_instance ADD CONSTRAINT task_instance_superseded_ended
    CHECK (superseded_by IS NULL OR (status <> 'RUNNING' AND superseded_by > id));

-- Work that is open: what runs, and what failed and can go on.
CREATE INDEX task_instance_open ON task_instance (status, id DESC)
    WHERE superseded_by IS NULL AND status IN ('RUNNING', 'FAILED');
CREATE INDEX task_instance_superseded_by ON task_instance (superseded_by) WHERE superseded_by IS NOT NULL;

-- A trigger, so that a process of the previous version supersedes as well.
CREATE FUNCTION supersede_task_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE task_instance SET superseded_by = NEW.id
    WHERE obproxy_server_id = NEW.obproxy_server_id AND id < NEW.id AND superseded_by IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER task_instance_supersedes AFTER INSERT ON task_instance
    FOR EACH ROW WHEN (NEW.obproxy_server_id IS NOT NULL) EXECUTE FUNCTION supersede_task_instances();
