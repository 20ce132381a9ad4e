-- A page of a migration's jobs, newest first, from below the id :last (NULL: from the
-- newest), with one status or any (NULL), :n of them at the most.
--   psql -v id=7 -v last=NULL -v status=NULL -v n=100 -v look=10000 -f sql/jobs.sql
--
-- There is no index on a job's status: no more than :look rows are looked at, along the
-- index on (migration, id desc). One row more than the page holds is asked for, which
-- tells whether there is more. Every row repeats how many rows were looked at and the
-- last id among them, and whether the migration exists; where no job fits, one row
-- tells only that.
WITH seen AS MATERIALIZED (
    SELECT id, min_value, max_value, status, attempts, failure_error_code, created_at,
           updated_at, started_at, finished_at
      FROM batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND (:last::bigint IS NULL OR id < :last::bigint)
     ORDER BY id DESC
     LIMIT :look::bigint),
page AS (
    SELECT *
      FROM seen
     WHERE :status::bigint IS NULL OR status = :status::bigint
     ORDER BY id DESC
     LIMIT :n::bigint + 1)
SELECT EXISTS (SELECT FROM batched_background_migrations WHERE id = :id::bigint) AS known,
       (SELECT count(*) FROM seen) AS looked_at,
       (SELECT min(id) FROM seen) AS last_seen,
       page.*
  FROM (SELECT) AS always
  LEFT JOIN page ON true
 ORDER BY page.id DESC
