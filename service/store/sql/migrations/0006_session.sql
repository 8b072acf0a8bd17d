-- Who is logged in to the pages.
CREATE TABLE session (
    digest      bytea PRIMARY KEY,  -- SHA-256 of what the browser's cookie holds: reading this table lets nobody in
    user_id     bigint      NOT NULL REFERENCES user_account ON DELETE CASCADE,
    create_time timestamptz NOT NULL DEFAULT now(),
    expires     timestamptz NOT NULL
);

CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_expires ON session (expires);
