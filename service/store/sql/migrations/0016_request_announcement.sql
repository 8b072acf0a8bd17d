-- The end of the request that was last announced by a webhook.
ALTER TABLE request ADD COLUMN announced_end timestamptz;
