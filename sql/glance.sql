-- The migrations, all or the one with this id, and whether the jobs are as they were last
-- counted (fcgi/store/job_counters.h): the job at :mark is the newest, and those of :open have the
-- states they had.
--   psql -v id=NULL -v mark=0 -v newest="'{}'" -v open="'{}'" -v states="'{}'" -f sql/glance.sql
--
-- Most of the time they are, and this statement costs PostgreSQL a third of what
-- migrations.sql does, which is asked otherwise. All of that is planning: hence no join,
-- and no ORDER BY for the rows. (The one for the jobs keeps a planner that has never seen
-- the table analyzed from scanning it.)
SELECT m.*,
       ARRAY (SELECT created_at
                FROM public.batched_background_migration_jobs
               WHERE id >= :mark::bigint
               ORDER BY id
               LIMIT 2) OPERATOR(pg_catalog.=) :newest::pg_catalog.timestamptz[]
       AND ARRAY (SELECT status
                    FROM public.batched_background_migration_jobs
                   WHERE id = ANY (:open::bigint[])
                   ORDER BY id) OPERATOR(pg_catalog.=) :states::smallint[] AS jobs_unchanged
  FROM public.batched_background_migrations AS m
 WHERE :id::bigint IS NULL OR m.id = :id::bigint
