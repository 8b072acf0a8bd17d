-- What SHOW PROXYCONFIG of an OBProxy server said when it was last looked at: some 300 parameters, secrets masked. Apart
-- from obproxy_server, whose rows are read whole and often. Values and descriptions apart too: who asks for the values of
-- a whole cluster wants the descriptions of one server only.
CREATE TABLE server_parameters (
    server_id   bigint PRIMARY KEY REFERENCES obproxy_server ON DELETE CASCADE,
    settings    jsonb       NOT NULL,  -- {name: value}
    definitions jsonb       NOT NULL,  -- {name: [description, needs a restart, range, read-only]}
    update_time timestamptz NOT NULL DEFAULT now()
);
