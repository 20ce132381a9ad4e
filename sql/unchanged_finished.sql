-- The same where no job was left unfinished, as is usual.
--   psql -v id=NULL -v mark=0 -v newest="'{}'" -f sql/unchanged_finished.sql
SELECT m.*,
       ARRAY (SELECT created_at
                FROM public.batched_background_migration_jobs
               WHERE id >= :mark::bigint
               ORDER BY id
               LIMIT 2) OPERATOR(pg_catalog.=) :newest::pg_catalog.timestamptz[] AS jobs_unchanged,
       EXISTS (SELECT FROM pg_catalog.pg_lock_status() AS l
                WHERE l.locktype = 'advisory'
                  AND l.classid = '0'
                  AND l.objid = '1'
                  AND l.objsubid = 1) AS lock_is_held
  FROM public.batched_background_migrations AS m
 WHERE :id::bigint IS NULL OR m.id = :id::bigint
