-- One pass of a resume over all migrations, or one: makes the paused (0) active (1), and
-- tells of those whose row another transaction holds. It waits for no row.
--   psql -v id=NULL -f sql/resume.sql
--
-- outcome: as in pause.sql
WITH candidate AS (
    SELECT id, name, status, status = 0 AS wanted
      FROM public.batched_background_migrations
     WHERE :id::bigint IS NULL OR id = :id::bigint),
locked AS (
    SELECT id
      FROM public.batched_background_migrations
     WHERE (:id::bigint IS NULL OR id = :id::bigint)
       AND status = 0
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 1,
           updated_at = pg_catalog.now()
      FROM locked
     WHERE m.id = locked.id
    RETURNING m.id)
SELECT candidate.id,
       candidate.name,
       candidate.status AS previous_status,
       CASE WHEN changed.id IS NOT NULL THEN 1
            WHEN candidate.wanted AND locked.id IS NULL THEN 2
            ELSE 0
       END AS outcome
  FROM candidate
  LEFT JOIN locked ON locked.id = candidate.id
  LEFT JOIN changed ON changed.id = candidate.id
 WHERE candidate.wanted OR :id::bigint IS NOT NULL
 ORDER BY candidate.id
