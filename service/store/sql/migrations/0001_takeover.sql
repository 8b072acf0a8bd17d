-- Everything the service knows. The schema is the state machine's second guard: what `service/state.py` refuses,
-- the constraints here refuse again.

CREATE TYPE task_status AS ENUM (
    'RUNNING',
    'FAILED',
    'SUCCESSFUL'
);

CREATE TYPE subtask_status AS ENUM (
    'PENDING',    -- waits for its upstreams
    'READY',      -- waits for a run
    'RUNNING',    -- a live run is in its role
    'CANCELING',  -- somebody asked for its end
    'FAILED',
    'SUCCESSFUL'
);

CREATE TYPE operation AS ENUM ('EXECUTE', 'RETRY', 'ROLLBACK', 'SKIP', 'ROLLBACK_SKIP', 'CANCEL');

CREATE TYPE server_status AS ENUM (
    'CREATING', 'RUNNING', 'RESTARTING', 'UPGRADING', 'REFRESHING', 'DELETING', 'UNAVAILABLE', 'TAKINGOVER'
);

-- One OBProxy process on one host at one SQL port.
CREATE TABLE obproxy_server (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id        bigint        NOT NULL,
    cluster_name      text          NOT NULL,
    host_id           bigint        NOT NULL,
    host_name         text          NOT NULL,
    ip                text          NOT NULL,
    sql_port          integer       NOT NULL CHECK (sql_port BETWEEN 1 AND 65535),
    status            server_status NOT NULL,
    operate_status    text          NOT NULL CHECK (operate_status IN ('NORMAL', 'OPERATING')),
    exporter_port     integer,
    version           text,
    architecture      text,
    parameter_version integer       NOT NULL DEFAULT 1,
    learned           jsonb         NOT NULL DEFAULT '{}',
    last_active_time  timestamptz,
    create_time       timestamptz   NOT NULL DEFAULT now(),
    update_time       timestamptz   NOT NULL DEFAULT now(),
    UNIQUE (host_id, sql_port)
);

CREATE INDEX obproxy_server_cluster ON obproxy_server (cluster_id, id);

-- One takeover of one host.
CREATE TABLE task_instance (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name               text        NOT NULL,
    type               text        NOT NULL DEFAULT 'MANUAL',
    status             task_status NOT NULL DEFAULT 'RUNNING',
    operation          operation   NOT NULL DEFAULT 'EXECUTE' CHECK (operation IN ('EXECUTE', 'RETRY', 'ROLLBACK')),
    creator            text        NOT NULL,
    creator_id         bigint      NOT NULL,
    executor           text        NOT NULL,
    host_id            bigint      NOT NULL,
    host_name          text        NOT NULL,
    obproxy_server_id  bigint      REFERENCES obproxy_server ON DELETE SET NULL,
    context            jsonb       NOT NULL,
    prohibit_rollback  boolean     NOT NULL DEFAULT false,
    task_definition_id bigint      NOT NULL DEFAULT -1,
    trace_id           text        NOT NULL,
    create_time        timestamptz NOT NULL DEFAULT now(),
    start_time         timestamptz NOT NULL DEFAULT now(),
    finish_time        timestamptz,
    CHECK ((status = 'RUNNING') = (finish_time IS NULL))
);

-- At most one running task instance a host, whoever asks at the same time.
CREATE UNIQUE INDEX task_instance_running_host ON task_instance (host_id) WHERE status = 'RUNNING';
CREATE INDEX task_instance_status ON task_instance (status, id DESC);
CREATE INDEX task_instance_host ON task_instance (host_id, id DESC);
CREATE INDEX task_instance_server ON task_instance (obproxy_server_id);
CREATE INDEX task_instance_finish ON task_instance (finish_time);

-- One step of a task instance: one role.
CREATE TABLE subtask_instance (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_instance_id  bigint         NOT NULL REFERENCES task_instance ON DELETE CASCADE,
    role              text           NOT NULL,
    series_id         integer        NOT NULL,
    class_name        text           NOT NULL,
    name              text           NOT NULL,
    description       text           NOT NULL,
    node_type         text           NOT NULL DEFAULT 'JAVA_TASK',
    status            subtask_status NOT NULL,
    operation         operation      NOT NULL DEFAULT 'EXECUTE',
    parallel_idx      integer        NOT NULL DEFAULT -1,
    prohibit_rollback boolean        NOT NULL,
    run_time          integer        NOT NULL DEFAULT 1,
    timeout           integer        NOT NULL CHECK (timeout >= 0),
    executor          text,
    create_time       timestamptz    NOT NULL DEFAULT now(),
    start_time        timestamptz,
    finish_time       timestamptz,
    UNIQUE (task_instance_id, series_id)
);

CREATE TABLE subtask_dependency (
    upstream_id   bigint NOT NULL REFERENCES subtask_instance ON DELETE CASCADE,
    downstream_id bigint NOT NULL REFERENCES subtask_instance ON DELETE CASCADE,
    PRIMARY KEY (upstream_id, downstream_id)
);

CREATE INDEX subtask_dependency_downstream ON subtask_dependency (downstream_id);

-- What a subtask's runs said, in the order they said it.
CREATE TABLE subtask_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subtask_id bigint      NOT NULL REFERENCES subtask_instance ON DELETE CASCADE,
    run_time   integer     NOT NULL,
    content    text        NOT NULL,
    time       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX subtask_log_subtask ON subtask_log (subtask_id, id);

-- One ansible-runner invocation for one task instance; alive while finish_time is null.
CREATE TABLE run (
    ident            uuid PRIMARY KEY,
    task_instance_id bigint      NOT NULL REFERENCES task_instance ON DELETE CASCADE,
    executor         text        NOT NULL,
    start_time       timestamptz NOT NULL DEFAULT now(),
    finish_time      timestamptz,
    rc               integer
);

-- A run never shares its task instance with another one.
CREATE UNIQUE INDEX run_alive ON run (task_instance_id) WHERE finish_time IS NULL;

-- A takeOver request that a caller may send again without its being done again, for 24 hours.
CREATE TABLE idempotency_key (
    creator     text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL, -- keyed hash of what was asked for
    task_ids    bigint[]    NOT NULL DEFAULT '{}',
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (creator, key)
);

CREATE INDEX idempotency_key_time ON idempotency_key (create_time);

-- What the caller gave in confidence, encrypted; gone when the task instance has succeeded.
CREATE TABLE task_secret (
    task_instance_id bigint NOT NULL REFERENCES task_instance ON DELETE CASCADE,
    name             text   NOT NULL,
    ciphertext       bytea  NOT NULL,
    PRIMARY KEY (task_instance_id, name)
);
