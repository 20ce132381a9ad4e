-- The same where no job was left unfinished, as is usual. PostgreSQL plans it once where statements are
-- prepared; with the array of unfinished jobs, it plans each time.
--   psql -v mark=0 -v newest="'{}'" -v versions="'{}'" -f sql/unchanged_list_finished.sql
SELECT m.*,
       unchanged.jobs AS jobs_unchanged,
       unchanged.rows AS rows_unchanged,
       unchanged.lock_is_held
  FROM (SELECT ARRAY (SELECT created_at
                        FROM public.batched_background_migration_jobs
                       WHERE id >= :mark::bigint
                       ORDER BY id
                       LIMIT 2) OPERATOR(pg_catalog.=) :newest::pg_catalog.timestamptz[] AS jobs,
               ARRAY (SELECT xmin
                        FROM public.batched_background_migrations)
               OPERATOR(pg_catalog.=) :versions::pg_catalog.xid[] AS rows,
               EXISTS (SELECT FROM pg_catalog.pg_lock_status() AS l
                        WHERE l.locktype = 'advisory'
                          AND l.classid = '0'
                          AND l.objid = '1'
                          AND l.objsubid = 1) AS lock_is_held
        OFFSET 0) AS unchanged
  LEFT JOIN LATERAL (
       SELECT m.*,
              m.xmin AS row_version
         FROM public.batched_background_migrations AS m
        WHERE NOT unchanged.jobs OR NOT unchanged.rows OR unchanged.lock_is_held
       OFFSET 0) AS m ON true
