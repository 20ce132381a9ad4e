-- The migrations, all or the one with this id, and whether the jobs are as they were last
-- counted (fcgi/store/job_counters.h): the job at :mark is the newest, and the jobs :unfinished,
-- :failed of them, are failed (3) still.
--   psql -v id=NULL -v mark=0 -v newest="'{}'" -v unfinished="'{}'" -v failed=0 -f sql/unchanged.sql
--
-- Where no job was left unfinished, as is usual, build/sql/unchanged_finished.sql is sent, which the
-- Makefile makes without the lines between "begin unfinished" and "end unfinished": PostgreSQL plans it
-- once where statements are prepared, while with the array of unfinished jobs it plans each time.
--
-- And whether somebody holds the worker's advisory lock, in this database or another:
-- sql/in_flight.sql then says more.
--
-- Most of the time the jobs are as they were, and this statement costs PostgreSQL a third of
-- migrations.sql, which is sent otherwise. Nearly all of that is planning, so there is no join, and no
-- ORDER BY for the rows.
SELECT m.*,
       ARRAY (SELECT created_at
                FROM public.batched_background_migration_jobs
               WHERE id >= :mark::bigint
               ORDER BY id
               LIMIT 2) OPERATOR(pg_catalog.=) :newest::pg_catalog.timestamptz[]
       -- begin unfinished
       AND (SELECT pg_catalog.count(*)
              FROM public.batched_background_migration_jobs
             WHERE id = ANY (:unfinished::bigint[])
               AND status = 3) = :failed::bigint
       -- end unfinished
       AS jobs_unchanged,
       EXISTS (SELECT FROM pg_catalog.pg_lock_status() AS l
                WHERE l.locktype = 'advisory'
                  AND l.classid = '0'
                  AND l.objid = '1'
                  AND l.objsubid = 1) AS lock_is_held
  FROM public.batched_background_migrations AS m
 WHERE :id::bigint IS NULL OR m.id = :id::bigint
