-- A run belongs to its worker as long as that renews it, and what it reports is written once, in order.
ALTER TABLE run
    ADD COLUMN renewed timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN batch   bigint      NOT NULL DEFAULT 0;  -- the last one written
