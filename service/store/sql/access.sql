-- name: user_by_name
SELECT id, name, password_hash, roles, enabled FROM user_account WHERE name = %(name)s;

-- name: users
SELECT id, name, password_hash, roles, enabled FROM user_account ORDER BY id;

-- name: insert_user
INSERT INTO user_account (name, password_hash, roles)
VALUES (%(name)s, %(password_hash)s, %(roles)s)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: insert_admin
INSERT INTO user_account (id, name, password_hash, roles)
VALUES (%(id)s, %(name)s, %(password_hash)s, %(roles)s)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: set_user_password
UPDATE user_account SET password_hash = %(password_hash)s, update_time = now() WHERE name = %(name)s RETURNING id;

-- name: set_user_enabled
UPDATE user_account SET enabled = %(enabled)s, update_time = now() WHERE name = %(name)s RETURNING id;

-- name: lock_user
-- Lock the user, so that concurrent requests cannot exceed the limit of access keys.
SELECT id FROM user_account WHERE name = %(name)s FOR UPDATE;

-- name: count_access_keys
SELECT count(*) AS total FROM access_key WHERE user_id = %(user_id)s;

-- name: insert_access_key
INSERT INTO access_key (id, user_id, ciphertext) VALUES (%(id)s, %(user_id)s, %(ciphertext)s);

-- name: set_access_key_enabled
UPDATE access_key SET enabled = %(enabled)s WHERE id = %(id)s RETURNING id;

-- name: access_keys
SELECT k.id, u.name AS user_name, k.enabled, k.create_time
FROM access_key k JOIN user_account u ON u.id = k.user_id
ORDER BY u.id, k.create_time, k.id;

-- name: enabled_access_key
-- The access key of a signed request, and its user. No row when the key or the user is disabled.
SELECT k.ciphertext, u.id, u.name, u.password_hash, u.roles, u.enabled
FROM access_key k JOIN user_account u ON u.id = k.user_id
WHERE k.id = %(id)s AND k.enabled AND u.enabled;

-- name: insert_used_signature
-- Record a signature as used; no row when it was used before. Deletes signatures that have expired anyway.
WITH expired AS (
    DELETE FROM used_signature WHERE (access_key_id, digest) IN (
        SELECT access_key_id, digest FROM used_signature WHERE expires < now() - interval '1 minute'
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO used_signature (access_key_id, digest, expires)
VALUES (%(id)s, %(digest)s, now() + %(validity)s)
ON CONFLICT DO NOTHING
RETURNING digest;

-- name: record_login_failure
-- Count one more failure, from 1 again when the last failure is older than `blocked_for`.
INSERT INTO login_failure (kind, name, failures, last) VALUES (%(kind)s, %(name)s, 1, now())
ON CONFLICT (kind, name) DO UPDATE
    SET failures = CASE WHEN login_failure.last < now() - %(blocked_for)s::interval THEN 1
                        ELSE login_failure.failures + 1 END,
        last = now()
RETURNING failures;

-- name: recent_login_failures
SELECT failures FROM login_failure
WHERE kind = %(kind)s AND name = %(name)s AND last >= now() - %(blocked_for)s::interval;

-- name: delete_login_failures
DELETE FROM login_failure WHERE kind = 'user' AND name = %(name)s;

-- name: delete_old_login_failures
DELETE FROM login_failure WHERE (kind, name) IN (
    SELECT kind, name FROM login_failure WHERE last < now() - interval '1 day' FOR UPDATE SKIP LOCKED
);

-- name: insert_audit_event
-- Unauthenticated requests are counted in one row per client, status and minute.
INSERT INTO audit_event (user_name, client, method, path, status, trace_id)
VALUES (%(user_name)s, %(client)s, %(method)s, %(path)s, %(status)s, %(trace_id)s)
ON CONFLICT (client, status, date_trunc('minute', time AT TIME ZONE 'UTC')) WHERE user_name IS NULL
    DO UPDATE SET calls = audit_event.calls + 1
RETURNING id;

-- name: set_audit_event_status
UPDATE audit_event SET status = %(status)s WHERE id = %(id)s;

-- name: audit_events
SELECT * FROM audit_event
WHERE %(user_name)s::text IS NULL OR user_name = %(user_name)s
ORDER BY id DESC LIMIT %(size)s OFFSET %(offset)s;

-- name: count_audit_events
SELECT count(*) AS total FROM audit_event WHERE %(user_name)s::text IS NULL OR user_name = %(user_name)s;

-- name: lock_secret_tables
-- Block writers of secrets during re-encryption; readers do not wait.
LOCK TABLE access_key, task_secret IN EXCLUSIVE MODE;

-- name: all_ciphertexts
-- Every ciphertext with its place: the table, and the primary key in it.
SELECT 'access_key ' || id AS place, ciphertext FROM access_key
UNION ALL
SELECT 'task_secret ' || task_instance_id || ' ' || name, ciphertext FROM task_secret;

-- name: update_access_key_ciphertexts
UPDATE access_key k SET ciphertext = n.ciphertext
FROM unnest(%(places)s::text[], %(ciphertexts)s::bytea[]) AS n (place, ciphertext)
WHERE n.place = 'access_key ' || k.id;

-- name: update_task_secret_ciphertexts
UPDATE task_secret s SET ciphertext = n.ciphertext
FROM unnest(%(places)s::text[], %(ciphertexts)s::bytea[]) AS n (place, ciphertext)
WHERE n.place = 'task_secret ' || s.task_instance_id || ' ' || s.name;

-- name: insert_session
-- Also deletes expired sessions.
WITH expired AS (
    DELETE FROM session WHERE digest IN (SELECT digest FROM session WHERE expires < now() FOR UPDATE SKIP LOCKED)
)
INSERT INTO session (digest, user_id, expires)
VALUES (%(digest)s, %(user_id)s, now() + make_interval(hours => %(hours)s));

-- name: user_of_session
SELECT u.id, u.name, u.password_hash, u.roles, u.enabled
FROM session s JOIN user_account u ON u.id = s.user_id
WHERE s.digest = %(digest)s AND s.expires > now() AND u.enabled;

-- name: delete_session
DELETE FROM session WHERE digest = %(digest)s;

-- name: delete_sessions_of_user
DELETE FROM session s USING user_account u WHERE u.id = s.user_id AND u.name = %(name)s;
