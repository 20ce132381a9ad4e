-- A migration's state, and whether there is an error code that may be cleared: not on the
-- oldest schema, and not where the registry has been upgraded from it and sql/role.sql not
-- been run again since (the worker clears it, too, when it begins).
--   psql -v id=7 -f sql/restart_look.sql
--
-- What a worker has not committed yet does not count, so nothing is waited for.
SELECT id,
       name,
       status,
       EXISTS (SELECT FROM pg_catalog.pg_attribute
                WHERE attrelid = 'public.batched_background_migrations'::pg_catalog.regclass::pg_catalog.oid
                  AND attname = 'failure_error_code'
                  AND NOT attisdropped
                  AND pg_catalog.has_column_privilege(attrelid, attnum, 'UPDATE')) AS has_error_code
  FROM public.batched_background_migrations
 WHERE id = :id::bigint
