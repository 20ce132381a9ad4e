-- The same on the first schema, 2024-06, which knows no error code.
--   psql -v id=7 -f sql/restart_first.sql
UPDATE public.batched_background_migrations
   SET status = 1,
       updated_at = pg_catalog.now()
 WHERE id = :id::bigint
   AND status = 3
