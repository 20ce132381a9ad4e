-- One pass of a pause over all migrations, or one: pauses those that a worker could choose, active (1)
-- or running (4), and reports those whose row another transaction holds.
--   psql -v id=NULL -v worker=NULL -v at=NULL -v dry_run=false -f sql/pause.sql
--
-- It waits for no row: a row that a worker holds for the three minutes of its job must not delay the
-- pause of the others. The lock is FOR NO KEY UPDATE, because a worker's job, whose foreign key shares
-- the row's key, does not conflict with that.
--
-- :worker is the transaction of the worker in a run, '{1234}' (more than one where it has
-- savepoints), or NULL. A paused row (0) that bears it either has a job by that worker, which is
-- harmless, or the worker has set it running in its open transaction. Only an attempt to lock the row
-- shows which.
--
-- :at is when the action's first pass was; NULL: this is it. :dry_run changes nothing and reports the
-- same; its locks end with the statement.
--
-- Where there is a history, build/sql/pause_recorded.sql is sent in its place. The Makefile makes it of
-- this file and sql/recorded.sql, which has other CTEs left_alone, overtaken and action.
--
-- changed: by this pass, or it would be by one that is no dry run. held: another transaction has the
-- row, or the pass was overtaken. Neither: it is left as it is, which is reported for a single id only.
WITH left_alone AS (SELECT NULL::bigint AS id, NULL::boolean AS later WHERE false),
overtaken AS (SELECT NULL::bigint AS id WHERE false),
candidate AS (
    SELECT id,
           name,
           status,
           (status IN (1, 4) OR (status = 0 AND xmax = ANY (:worker::pg_catalog.xid[])))
           AND NOT EXISTS (SELECT FROM left_alone AS l
                            WHERE l.id = m.id AND (l.later OR m.status = 1)) AS wanted
      FROM public.batched_background_migrations AS m
     WHERE :id::bigint IS NULL OR id = :id::bigint),
locked AS (
    SELECT id, status
      FROM public.batched_background_migrations AS m
     WHERE (:id::bigint IS NULL OR id = :id::bigint)
       AND (status IN (1, 4) OR (status = 0 AND xmax = ANY (:worker::pg_catalog.xid[])))
       AND NOT EXISTS (SELECT FROM left_alone AS l
                        WHERE l.id = m.id AND (l.later OR m.status = 1))
       AND NOT EXISTS (SELECT FROM overtaken)
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED),
changed AS (
    UPDATE public.batched_background_migrations AS m
       SET status = 0,
           updated_at = COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now())
      FROM locked
     WHERE m.id = locked.id
       AND locked.status IN (1, 4)
       AND NOT :dry_run::boolean
    RETURNING m.id, m.name, locked.status AS previous_status, m.status),
action AS (SELECT NULL::bigint AS id)
SELECT candidate.id,
       candidate.name,
       COALESCE(changed.previous_status, candidate.status) AS previous_status,
       changed.id IS NOT NULL OR (:dry_run::boolean AND locked.status IN (1, 4)) AS changed,
       candidate.wanted AND locked.id IS NULL AND changed.id IS NULL AS held,
       EXISTS (SELECT FROM overtaken) AS overtaken,
       (SELECT id FROM action) AS action_id,
       COALESCE(:at::pg_catalog.timestamptz, pg_catalog.now()) AS at
  FROM candidate
  LEFT JOIN locked ON locked.id = candidate.id
  LEFT JOIN changed ON changed.id = candidate.id
 WHERE candidate.wanted OR :id::bigint IS NOT NULL
 ORDER BY candidate.id
