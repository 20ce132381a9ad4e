-- Makes a failed migration (3) active (1) again.
--   psql -v id=7 -f sql/restart.sql
UPDATE public.batched_background_migrations
   SET status = 1,
       failure_error_code = NULL,
       updated_at = pg_catalog.now()
 WHERE id = :id::bigint
   AND status = 3
