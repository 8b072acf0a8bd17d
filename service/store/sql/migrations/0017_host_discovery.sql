-- The last discovery of each host, and the last request for one. A discovery that started before its request is pending.
CREATE TABLE host_discovery (
    host_id      bigint      PRIMARY KEY,
    request_time timestamptz NOT NULL,
    requester    text        NOT NULL,
    start_time   timestamptz,  -- of the last discovery that has ended; null = none has
    finish_time  timestamptz,
    outcome      text,         -- DISCOVERED, UNREACHABLE or FAILED
    message      text,         -- why it is not DISCOVERED
    rules        jsonb,        -- failed rules of the host: rule, found, fix
    obproxies    jsonb         -- its OBProxies, each with its failed rules
);
