-- Takes one migration's row for a restart, and tells its state and whether this age of
-- the schema has an error code to clear.
--   psql -v id=7 -f sql/restart_lock.sql
SELECT id,
       name,
       status,
       EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = 'batched_background_migrations'::regclass
                  AND attname = 'failure_error_code'
                  AND NOT attisdropped) AS has_error_code
  FROM batched_background_migrations
 WHERE id = :id::bigint
   FOR NO KEY UPDATE
