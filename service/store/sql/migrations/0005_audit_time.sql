-- For removing what is older than the settings say.
CREATE INDEX audit_event_time ON audit_event (time);
