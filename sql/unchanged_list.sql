-- All migrations, or one row without any where nothing has changed since they were last read: no row
-- of theirs, and no job (as in unchanged.sql), while no worker may be in a run.
--   psql -v mark=0 -v newest="'{}'" -v unfinished="'{}'" -v failed=0 -v versions="'{}'" -f sql/unchanged_list.sql
--
-- :versions are the rows' xmin in the order of a scan: the transactions that wrote them. A change writes
-- its row under a transaction that none of them has, a new row adds one, and a row that goes takes one
-- away. So equal arrays mean that the rows are the same. (The number of a transaction comes again after
-- four billion others; long before, the service counts all jobs again, and reads all rows.)
--
-- Where no job was left unfinished, build/sql/unchanged_list_finished.sql is sent (as in unchanged.sql).
--
-- OFFSET 0 keeps the parts apart: a list that is unchanged is then not scanned a second time. For a long
-- list all this costs PostgreSQL less than to send the rows, for a short one more.
SELECT m.*,
       unchanged.jobs AS jobs_unchanged,
       unchanged.rows AS rows_unchanged,
       unchanged.lock_is_held
  FROM (SELECT ARRAY (SELECT created_at
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
               AS jobs,
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
