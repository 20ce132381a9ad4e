-- A page of a migration's jobs, newest first, from below the id :last (NULL: from the
-- newest), with one status or any (NULL), :n of them at the most.
--   psql -v id=7 -v last=NULL -v status=NULL -v n=100 -v look=10000 -f sql/jobs.sql
--
-- There is no index on a job's status: for a page with one status, the jobs within :look
-- ids are looked at, from the first that is there. A LIMIT on their number would be no
-- bound: the planner, where it believes that there are hardly more, would rather read and
-- sort all of them. That first one is found by way of the migration's row, lest the planner
-- look for it along the primary key when the migration has a large share of all jobs.
--
-- One row more than the page holds is asked for, which tells whether there is more. Every
-- row repeats whether the migration exists, and below which id there may be more than was
-- looked at; where no job fits, one row tells only that.
WITH top AS MATERIALIZED (
    SELECT job.id
      FROM batched_background_migrations AS m
     CROSS JOIN LATERAL (
           SELECT id
             FROM batched_background_migration_jobs
            WHERE batched_background_migration_id = m.id
              AND (:last::bigint IS NULL OR id < :last::bigint)
            ORDER BY id DESC
            LIMIT 1) AS job
     WHERE m.id = :id::bigint),
page AS (
    SELECT id, min_value, max_value, status, attempts, failure_error_code, created_at,
           updated_at, started_at, finished_at
      FROM batched_background_migration_jobs
     WHERE batched_background_migration_id = :id::bigint
       AND (:last::bigint IS NULL OR id < :last::bigint)
       AND (:status::bigint IS NULL OR (status = :status::bigint
                                        AND id > (SELECT id - :look::bigint FROM top)
                                        AND id <= (SELECT id FROM top)))
     ORDER BY id DESC
     LIMIT :n::bigint + 1)
SELECT EXISTS (SELECT FROM batched_background_migrations WHERE id = :id::bigint) AS known,
       (SELECT id - :look::bigint + 1
          FROM top
         WHERE :status::bigint IS NOT NULL
           AND id > :look::bigint) AS beyond,
       page.*
  FROM (SELECT) AS always
  LEFT JOIN page ON true
 ORDER BY page.id DESC
