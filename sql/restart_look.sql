-- A migration's state, and whether this age of the schema has an error code to clear.
--   psql -v id=7 -f sql/restart_look.sql
--
-- What a worker has not committed yet does not count, so nothing is waited for.
SELECT id,
       name,
       status,
       EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = 'batched_background_migrations'::regclass
                  AND attname = 'failure_error_code'
                  AND NOT attisdropped) AS has_error_code
  FROM batched_background_migrations
 WHERE id = :id::bigint
