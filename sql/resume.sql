-- One pass of a resume over all migrations, or one: makes the paused (0) active (1), and reports those
-- whose row another transaction holds. It waits for no row.
--   psql -v id=NULL -v at=NULL -v dry_run=false -f sql/resume.sql
--
-- The variables, the statement that is sent where there is a history, changed and held: as in pause.sql
WITH left_alone AS (SELECT NULL::bigint AS id, NULL::boolean AS later WHERE false),
overtaken AS (SELECT NULL::bigint AS id WHERE false),
candidate AS (
    SELECT id,
           name,
           status,
           status = 0 AND NOT EXISTS (SELECT FROM left_alone AS l WHERE l.id = m.id) AS wanted
      FROM public.batched_background_migrations AS m
     WHERE :id::bigint IS NULL OR id = :id::bigint),
locked AS (
    SELECT id
      FROM public.batched_background_migrations AS m
     WHERE (:id::bigint IS NULL OR id = :id::bigint)
       AND status = 0
       AND NOT EXISTS (SELECT FROM left_alone AS l WHERE l.id = m.id)
       AND NOT EXISTS (SELECT FROM overtaken)
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 1,
           updated_at = COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now())
      FROM locked
     WHERE m.id = locked.id
       AND NOT :dry_run::boolean
    RETURNING m.id, m.name, 0 AS previous_status, m.status),
action AS (SELECT NULL::bigint AS id)
SELECT candidate.id,
       candidate.name,
       COALESCE(changed.previous_status, candidate.status) AS previous_status,
       changed.id IS NOT NULL OR (:dry_run::boolean AND locked.id IS NOT NULL) AS changed,
       candidate.wanted AND locked.id IS NULL AND changed.id IS NULL AS held,
       EXISTS (SELECT FROM overtaken) AS overtaken,
       (SELECT id FROM action) AS action_id,
       COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()) AS at
  FROM candidate
  LEFT JOIN locked ON locked.id = candidate.id
  LEFT JOIN changed ON changed.id = candidate.id
 WHERE candidate.wanted OR :id::bigint IS NOT NULL
 ORDER BY candidate.id
