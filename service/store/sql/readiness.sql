-- name: session_read_only
-- True on a standby, and where the database or the user has default_transaction_read_only.
SELECT current_setting('transaction_read_only')::boolean AS read_only;

-- name: set_minimum_work_mem
SET LOCAL work_mem = '64kB';

-- name: write_temporary_file
-- About 2 MB, more than work_mem, so PostgreSQL writes them to the disk.
SELECT count(*) FROM generate_series(1, 100000);

-- name: write_wal_message
SELECT pg_logical_emit_message(true, 'takeover', 'readiness');
