-- The migrations, all or the one with this id, and what has changed among their jobs
-- since they were last counted (fcgi/store/job_counters.h).
--   psql -v id=NULL -v mark=0 -v unfinished="'{}'" -v new=1000 -f sql/migrations.sql
--
-- Jobs are only added, with ascending ids, and a finished job stays finished. So only these can have
-- changed: the jobs above :mark, the highest id counted, and :unfinished, the counted jobs that were
-- not finished. Both are found by the jobs' primary key, however many jobs there are. :new jobs are
-- read at a time, the job at the mark included: where that job is gone, or is another one, the table is
-- not the one that was counted.
--
-- A row for each migration, without a job, and a row for each such job, without a migration: so no job
-- is lost whose migration is unknown or hidden. A job may come twice. The migration has all columns of
-- its table, because the registry's age decides which there are.
SELECT m.*,
       job.id AS job_id,
       job.batched_background_migration_id AS job_migration_id,
       job.status AS job_status,
       job.created_at AS job_created_at,
       EXISTS (SELECT FROM pg_catalog.pg_lock_status() AS l
                WHERE l.locktype = 'advisory'
                  AND l.classid = '0'
                  AND l.objid = '1'
                  AND l.objsubid = 1) AS lock_is_held
  FROM (SELECT *
          FROM public.batched_background_migrations
         WHERE :id::bigint IS NULL OR id = :id::bigint) AS m
  FULL JOIN (
       (SELECT id, batched_background_migration_id, status, created_at
          FROM public.batched_background_migration_jobs
         WHERE id >= :mark::bigint
           AND (:id::bigint IS NULL
                OR batched_background_migration_id = :id::bigint
                OR id = :mark::bigint)
         ORDER BY id
         LIMIT :new::bigint)
       UNION ALL
       (SELECT id, batched_background_migration_id, status, created_at
          FROM public.batched_background_migration_jobs
         WHERE id = ANY (:unfinished::bigint[]))) AS job
    ON false
