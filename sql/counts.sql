-- All jobs, counted by migration, and those that are not finished (2).
--   psql -v all=256 -v kept=32 -f sql/counts.sql
--
-- A row for each migration that has jobs, with their number (jobs) and the newest job of all; and
-- rows for unfinished jobs, each with how many its migration has (jobs), and how many of those
-- have failed (3). All unfinished jobs come where there are up to :all; else the :kept failed jobs
-- of lowest id of each migration, so that their number does not depend on how many failed.
--
-- There is no index on a job's status, so the table is scanned for the few jobs that are not
-- finished. The number of all jobs comes from an index: that takes half as long as to count the
-- finished ones. (One scan for both would be slower: PostgreSQL would then use no parallel workers.)
-- The service sends this when it first needs counts, and then seldom.
--
-- Never prepared: a statement that is sent so seldom gains nothing.
SELECT batched_background_migration_id AS migration_id,
       NULL::bigint AS job_id,
       NULL::smallint AS status,
       pg_catalog.count(*) AS jobs,
       NULL::bigint AS failed,
       (SELECT pg_catalog.max(id) FROM public.batched_background_migration_jobs) AS newest
  FROM public.batched_background_migration_jobs
 GROUP BY migration_id
 UNION ALL
SELECT migration_id,
       id,
       status,
       of_migration,
       failed,
       NULL
  FROM (SELECT batched_background_migration_id AS migration_id,
               id,
               status,
               pg_catalog.count(*) OVER () AS in_all,
               pg_catalog.count(*) OVER migration AS of_migration,
               pg_catalog.count(*) FILTER (WHERE status = 3) OVER migration AS failed,
               pg_catalog.row_number() OVER (PARTITION BY batched_background_migration_id, status = 3
                                             ORDER BY id) AS place
          FROM public.batched_background_migration_jobs
         WHERE status <> 2
        WINDOW migration AS (PARTITION BY batched_background_migration_id)) AS unfinished
 WHERE in_all <= :all::bigint
    OR place <= CASE status WHEN 3 THEN :kept::bigint ELSE 1 END
