-- One try at a restart: makes a failed migration (3) active (1), clears its error code, and gives its
-- failed jobs (3) their attempts back. Without that the worker finds them used up and marks the
-- migration failed again on its next run. It waits for no row: where another transaction holds the
-- migration or one of those jobs, nothing is changed.
--   psql -v id=7 -v at=NULL -v dry_run=false -f sql/restart.sql
--
-- The first schema, 2024-06, has no error code: build/sql/restart_first.sql is this statement
-- without the lines that name it.
--
-- The variables, the statement that is sent where there is a history, changed and held: as in pause.sql
WITH left_alone AS (SELECT NULL::bigint AS id, NULL::boolean AS later WHERE false),
overtaken AS (SELECT NULL::bigint AS id WHERE false),
candidate AS (
    SELECT id,
           name,
           status,
           failure_error_code,
           status = 3 AND NOT EXISTS (SELECT FROM left_alone AS l WHERE l.id = m.id) AS wanted
      FROM public.batched_background_migrations AS m
     WHERE id = :id::bigint),
failed AS (
    SELECT id
      FROM public.batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0),
locked_migration AS (
    SELECT id
      FROM public.batched_background_migrations AS m
     WHERE id = :id::bigint
       AND status = 3
       AND NOT EXISTS (SELECT FROM left_alone AS l WHERE l.id = m.id)
       AND NOT EXISTS (SELECT FROM overtaken)
       FOR NO KEY UPDATE SKIP LOCKED),
locked_jobs AS (
    SELECT id
      FROM public.batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0
       AND EXISTS (SELECT FROM locked_migration)
       FOR NO KEY UPDATE SKIP LOCKED),
locked AS (
    SELECT id
      FROM locked_migration
     WHERE (SELECT pg_catalog.count(*) FROM locked_jobs) = (SELECT pg_catalog.count(*) FROM failed)),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 1,
           failure_error_code = NULL,
           updated_at = COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now())
      FROM locked
     WHERE m.id = locked.id
       AND NOT :dry_run::boolean
    RETURNING m.id, m.name, 3 AS previous_status, m.status),
jobs AS (
    UPDATE public.batched_background_migration_jobs
       SET attempts = 0
     WHERE batched_background_migration_id = :id::bigint
       AND status = 3
       AND attempts <> 0
       AND EXISTS (SELECT FROM changed)),
action AS (SELECT NULL::bigint AS id)
SELECT candidate.id,
       candidate.name,
       COALESCE(changed.previous_status, candidate.status) AS previous_status,
       changed.id IS NOT NULL OR (:dry_run::boolean AND locked.id IS NOT NULL) AS changed,
       candidate.wanted AND locked.id IS NULL AND changed.id IS NULL AS held,
       EXISTS (SELECT FROM overtaken) AS overtaken,
       candidate.failure_error_code AS error_code,
       (SELECT id FROM action) AS action_id,
       COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()) AS at
  FROM candidate
  LEFT JOIN locked ON locked.id = candidate.id
  LEFT JOIN changed ON changed.id = candidate.id
