-- Every call that changes something, or was to.

CREATE TABLE audit_event (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time      timestamptz NOT NULL DEFAULT now(),
    user_name text,                    -- null = nobody was proved
    client    text        NOT NULL,    -- the address it came from
    method    text        NOT NULL,
    path      text        NOT NULL,    -- percent-encoded, without the query
    status    integer     NOT NULL,    -- HTTP status of the answer
    trace_id  text        NOT NULL,    -- empty when it was refused before it got one
    calls     integer     NOT NULL DEFAULT 1
);

CREATE INDEX audit_event_user ON audit_event (user_name, id DESC);

-- Calls of nobody are one row for each address and minute: otherwise anybody could fill the disk.
CREATE UNIQUE INDEX audit_event_nobody ON audit_event (client, status, date_trunc('minute', time AT TIME ZONE 'UTC'))
    WHERE user_name IS NULL;
