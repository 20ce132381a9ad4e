-- The same with one status. There is no index on a job's status, so the jobs within :look ids are
-- looked at, from the first one that is there. A LIMIT on their number would be no bound: the planner,
-- where it believes that there are hardly more, would rather read and sort all of them.
--   psql -v id=7 -v first=9223372036854775807 -v status=3 -v n=100 -v look=10000 -f sql/jobs_filtered.sql
--
-- beyond, the same in every row, is the id below which jobs were not looked at; NULL: there are none.
WITH top AS MATERIALIZED (
    SELECT job.id
      FROM public.batched_background_migrations AS m
     CROSS JOIN LATERAL (
           SELECT id
             FROM public.batched_background_migration_jobs
            WHERE batched_background_migration_id = m.id
              AND id <= :first::bigint
            ORDER BY id DESC
            LIMIT 1) AS job
     WHERE m.id = :id::bigint)
SELECT (SELECT id - :look::bigint + 1
          FROM top
         WHERE id > :look::bigint) AS beyond,
       page.*
  FROM public.batched_background_migrations AS m
  LEFT JOIN (
       SELECT id, min_value, max_value, status, attempts, failure_error_code, created_at,
              updated_at, started_at, finished_at
         FROM public.batched_background_migration_jobs
        WHERE batched_background_migration_id = :id::bigint
          AND id <= (SELECT id FROM top)
          AND id > (SELECT id - :look::bigint FROM top)
          AND status = :status::bigint
        ORDER BY id DESC
        LIMIT :n::bigint + 1) AS page ON true
 WHERE m.id = :id::bigint
 ORDER BY page.id DESC
