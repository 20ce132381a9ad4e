-- All jobs, counted by migration: a row for the finished ones (2) of each migration, and
-- one for each job that is not finished, with its id and status.
--   psql -f sql/counts.sql
--
-- There is no index on a job's status: the table is scanned, twice, as PostgreSQL shares
-- either scan among parallel workers, but not one that does both. Done when the service
-- first needs counts, and then seldom.
SELECT batched_background_migration_id AS migration_id,
       NULL::bigint AS open_id,
       2::smallint AS status,
       count(*) AS jobs,
       max(id) AS newest
  FROM batched_background_migration_jobs
 WHERE status = 2
 GROUP BY migration_id
 UNION ALL
SELECT batched_background_migration_id,
       id,
       status,
       1,
       id
  FROM batched_background_migration_jobs
 WHERE status <> 2
