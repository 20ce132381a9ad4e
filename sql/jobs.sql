-- A page of a migration's jobs, newest first, from below the id :last (NULL: from the
-- newest), with one status or any (NULL), :n of them at the most. No row: there is no such
-- migration; a row without an id: no job fits.
--   psql -v id=7 -v last=NULL -v status=NULL -v n=100 -v look=10000 -f sql/jobs.sql
--
-- The first that is there is found by way of the migration's row, which hides from the
-- planner which migration it is: where one has a large share of all jobs it would walk
-- along the primary key, through all that others have added since. From that first one on
-- it may.
--
-- There is no index on a job's status: for a page with one status, the jobs within :look
-- ids are looked at. A LIMIT on their number would be no bound: the planner, where it
-- believes that there are hardly more, would rather read and sort all of them. Every row
-- repeats below which id there may be more than was looked at.
--
-- One row more than the page holds is asked for, which tells whether there is more.
WITH top AS MATERIALIZED (
    SELECT job.id
      FROM public.batched_background_migrations AS m
     CROSS JOIN LATERAL (
           SELECT id
             FROM public.batched_background_migration_jobs
            WHERE batched_background_migration_id = m.id
              AND (:last::bigint IS NULL OR id < :last::bigint)
            ORDER BY id DESC
            LIMIT 1) AS job
     WHERE m.id = :id::bigint)
SELECT (SELECT id - :look::bigint + 1
          FROM top
         WHERE :status::bigint IS NOT NULL
           AND id > :look::bigint) AS beyond,
       page.*
  FROM public.batched_background_migrations AS m
  LEFT JOIN (
       SELECT id, min_value, max_value, status, attempts, failure_error_code, created_at,
              updated_at, started_at, finished_at
         FROM public.batched_background_migration_jobs
        WHERE batched_background_migration_id = :id::bigint
          AND id <= (SELECT id FROM top)
          AND (:status::bigint IS NULL OR (status = :status::bigint
                                           AND id > (SELECT id - :look::bigint FROM top)))
        ORDER BY id DESC
        LIMIT :n::bigint + 1) AS page ON true
 WHERE m.id = :id::bigint
 ORDER BY page.id DESC
