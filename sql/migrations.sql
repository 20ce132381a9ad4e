-- The migrations, all or the one with this id, and what has changed among their jobs
-- since they were last counted (fcgi/store/job_counters.h).
--   psql -v id=NULL -v mark=0 -v open='{}' -f sql/migrations.sql
--
-- Jobs are only ever added, with ascending ids, and one that is finished stays so. Hence
-- what can have changed are the jobs above :mark, the highest id counted, and those among
-- the counted that were not finished, :open. Both are found by the jobs' primary key,
-- however many jobs there are. 1000 are read at a time. The job at the mark itself comes
-- along: where it is gone, or another, the table is not the one that was counted.
--
-- All columns of the migration, by name: which there are depends on the registry's age.
-- A migration with several such jobs has several rows.
SELECT m.*,
       job.id AS job_id,
       job.batched_background_migration_id AS job_migration_id,
       job.status AS job_status,
       job.created_at AS job_created_at
  FROM public.batched_background_migrations AS m
  LEFT JOIN (
       (SELECT id, batched_background_migration_id, status, created_at
          FROM public.batched_background_migration_jobs
         WHERE id >= :mark::bigint
           AND (:id::bigint IS NULL
                OR batched_background_migration_id = :id::bigint
                OR id = :mark::bigint)
         ORDER BY id
         LIMIT 1000)
       UNION ALL
       (SELECT id, batched_background_migration_id, status, created_at
          FROM public.batched_background_migration_jobs
         WHERE id = ANY (:open::bigint[]))) AS job
    ON job.batched_background_migration_id = m.id
    OR (:id::bigint IS NOT NULL AND job.id = :mark::bigint)
 WHERE :id::bigint IS NULL OR m.id = :id::bigint
 ORDER BY m.id, job.id
