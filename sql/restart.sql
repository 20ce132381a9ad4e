-- One try at a restart: makes a failed migration (3) active (1), clears its error code, and gives its
-- failed jobs (3) their attempts back. Without that the worker finds them used up and marks the
-- migration failed again on its next run. It waits for no row: where another transaction holds the
-- migration or one of those jobs, nothing is changed.
--   psql -v id=7 -f sql/restart.sql
--
-- The first schema, 2024-06, has no error code: build/sql/restart_first.sql is this statement
-- without that line.
--
-- outcome: as in pause.sql
WITH candidate AS (
    SELECT id, name, status, status = 3 AS wanted
      FROM public.batched_background_migrations
     WHERE id = :id::bigint),
locked AS (
    SELECT id
      FROM public.batched_background_migrations
     WHERE id = :id::bigint
       AND status = 3
       FOR NO KEY UPDATE SKIP LOCKED),
failed AS (
    SELECT id
      FROM public.batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0),
locked_jobs AS (
    SELECT id
      FROM public.batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0
       AND EXISTS (SELECT FROM locked)
       FOR NO KEY UPDATE SKIP LOCKED),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 1,
           failure_error_code = NULL,
           updated_at = pg_catalog.now()
      FROM locked
     WHERE m.id = locked.id
       AND (SELECT pg_catalog.count(*) FROM locked_jobs) = (SELECT pg_catalog.count(*) FROM failed)
    RETURNING m.id),
jobs AS (
    UPDATE public.batched_background_migration_jobs
       SET attempts = 0
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0
       AND EXISTS (SELECT FROM changed))
SELECT candidate.id,
       candidate.name,
       candidate.status AS previous_status,
       CASE WHEN changed.id IS NOT NULL THEN 1
            WHEN candidate.wanted THEN 2
            ELSE 0
       END AS outcome
  FROM candidate
  LEFT JOIN changed ON changed.id = candidate.id
