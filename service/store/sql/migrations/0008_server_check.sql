-- What the check of OBProxy servers must remember. Apart from obproxy_server, which a worker of the version before reads.

-- A server that was looked at. There is none for one that was never silent and never due for a closer look.
CREATE TABLE server_check (
    server_id bigint PRIMARY KEY REFERENCES obproxy_server ON DELETE CASCADE,
    answered  boolean     NOT NULL DEFAULT false,  -- its SQL port can be reached from here
    looked    timestamptz NOT NULL DEFAULT now()   -- when its host was last asked, or was to be
);

-- When the last round of checks began, whichever worker made it.
CREATE TABLE server_check_round (
    started  timestamptz NOT NULL DEFAULT 'epoch',
    only_row boolean     PRIMARY KEY DEFAULT true CHECK (only_row)
);

INSERT INTO server_check_round DEFAULT VALUES;
