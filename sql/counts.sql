-- All jobs, counted by migration: a row for each migration that has any, with the newest job
-- of all; and one for each job that is not finished (2), with its id and status.
--   psql -f sql/counts.sql
--
-- There is no index on a job's status, so the table is scanned, for the few that are not
-- finished. How many there are in all, an index knows, which takes half as long as to count
-- the finished ones. (In one scan both could not be had: PostgreSQL shares neither among
-- parallel workers then.) Done when the service first needs counts, and then seldom.
SELECT batched_background_migration_id AS migration_id,
       NULL::bigint AS open_id,
       NULL::smallint AS status,
       pg_catalog.count(*) AS jobs,
       (SELECT pg_catalog.max(id) FROM public.batched_background_migration_jobs) AS newest
  FROM public.batched_background_migration_jobs
 GROUP BY migration_id
 UNION ALL
SELECT batched_background_migration_id,
       id,
       status,
       NULL,
       NULL
  FROM public.batched_background_migration_jobs
 WHERE status <> 2
