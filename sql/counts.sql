-- All jobs, counted by migration: a row for the finished ones (2) of each migration, and
-- one for each job that is not finished, with its id and status.
--   psql -f sql/counts.sql
--
-- One scan of the table, which PostgreSQL can share among parallel workers: there is no
-- index on a job's status. Done when the service first needs counts, and then seldom.
SELECT batched_background_migration_id AS migration_id,
       CASE WHEN status <> 2 THEN id END AS open_id,
       min(status) AS status,
       count(*) AS jobs,
       max(id) AS newest
  FROM batched_background_migration_jobs
 GROUP BY migration_id, open_id
