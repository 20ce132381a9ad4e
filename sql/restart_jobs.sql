-- Gives a migration's failed jobs (3) their attempts back. Without it the worker finds
-- them used up and marks the migration failed again on its next run.
--   psql -v id=7 -f sql/restart_jobs.sql
UPDATE public.batched_background_migration_jobs
   SET attempts = 0
 WHERE batched_background_migration_id = :id::bigint
   AND status = 3
   AND attempts <> 0
