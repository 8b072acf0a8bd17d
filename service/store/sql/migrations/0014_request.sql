-- A request: the task instances of one call.
CREATE TABLE request (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow     text        NOT NULL,
    cluster_id   bigint      NOT NULL,
    cluster_name text        NOT NULL,
    creator      text        NOT NULL,
    creator_id   bigint      NOT NULL,
    rollout      jsonb,      -- canary, batch_size, max_failures; null = all hosts start at once
    create_time  timestamptz NOT NULL DEFAULT now()
);

-- Task instances from before this migration, and those of runs by hand, have no request.
ALTER TABLE task_instance
    ADD COLUMN request_id       bigint REFERENCES request,
    ADD COLUMN position         integer,  -- in the request, from 1
    ADD COLUMN held_by          text,     -- why its job is held: ROLLOUT or MAX_FAILURES; null = it is not held
    ADD COLUMN failure_accepted boolean;  -- the limit of the rollout does not count its failure

CREATE INDEX task_instance_request ON task_instance (request_id, position);
CREATE INDEX task_instance_held ON task_instance (request_id) WHERE held_by IS NOT NULL;
