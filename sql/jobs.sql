-- A page of a migration's jobs, newest first, from the id :first on downwards, of up
-- to :n of them. No row: there is no such migration; a row without an id: it has no job there.
--   psql -v id=7 -v first=9223372036854775807 -v n=100 -f sql/jobs.sql
--
-- The first job is found through the migration's row, so that the planner does not know which migration
-- it is. If it knew, and the migration had a large share of all jobs, it would walk along the primary
-- key through all jobs that others have added since. From the first job on it may do so.
--
-- One row more than the page holds is read: it shows whether there are more. :max is the most rows that
-- a page may hold: a planner that does not know :n would expect a tenth of all jobs, and sort them.
\set max 1000

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
SELECT page.*
  FROM public.batched_background_migrations AS m
  LEFT JOIN (
       SELECT *
         FROM (SELECT id, min_value, max_value, status, attempts, failure_error_code, created_at,
                      updated_at, started_at, finished_at
                 FROM public.batched_background_migration_jobs
                WHERE batched_background_migration_id = :id::bigint
                  AND id <= (SELECT id FROM top)
                ORDER BY id DESC
                LIMIT :max + 1) AS longest
        LIMIT :n::bigint + 1) AS page ON true
 WHERE m.id = :id::bigint
 ORDER BY page.id DESC
