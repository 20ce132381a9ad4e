-- The migrations with their counts of jobs: all of them, or the one with this id.
--   psql -v id=NULL -f sql/migrations.sql      psql -v id=7 -f sql/migrations.sql
--
-- Columns that younger registries added are found by name resolution: inside the
-- lateral query a name means the table's own column where it has one, and the NULL of
-- "absent" where it has not. So one statement serves every age of the schema, and goes
-- on serving when the registry is upgraded under it.
--
-- The pace of one that may be worked on is the spacing of its latest jobs: the median of
-- the last 20 gaps, in which a pause or an idle night is one gap among many; or, where
-- most are zero because a worker ran several jobs in one transaction, their mean.
SELECT m.id,
       m.name,
       m.status,
       m.job_signature_name,
       m.table_name,
       m.column_name,
       m.batch_size,
       m.sub_batch_size,
       m.min_value,
       m.max_value,
       m.batching_strategy,
       m.total_tuple_count,
       m.failure_error_code,
       m.created_at,
       m.updated_at,
       m.started_at,
       m.finished_at,
       j.finished_jobs,
       j.failed_jobs,
       pace.microseconds AS pace
  FROM (SELECT NULL::smallint    AS failure_error_code,
               NULL::timestamptz AS started_at,
               NULL::timestamptz AS finished_at,
               NULL::text        AS batching_strategy,
               NULL::bigint      AS total_tuple_count,
               NULL::integer     AS sub_batch_size) AS absent
 CROSS JOIN LATERAL (
       SELECT t.id, t.name, t.status, t.job_signature_name, t.table_name, t.column_name,
              t.batch_size, t.min_value, t.max_value, t.created_at, t.updated_at,
              sub_batch_size, batching_strategy, total_tuple_count, failure_error_code,
              started_at, finished_at
         FROM batched_background_migrations AS t) AS m
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE status = 2) AS finished_jobs,
              count(*) FILTER (WHERE status = 3) AS failed_jobs
         FROM batched_background_migration_jobs
        WHERE batched_background_migration_id = m.id) AS j
 CROSS JOIN LATERAL (
       SELECT (extract(epoch FROM CASE WHEN count(gap) < 2 THEN NULL
                     WHEN percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) > interval '0'
                     THEN percentile_cont(0.5) WITHIN GROUP (ORDER BY gap)
                     ELSE avg(gap)
                END) * 1000000)::bigint AS microseconds
         FROM (SELECT created_at - lead(created_at) OVER (ORDER BY id DESC) AS gap
                 FROM (SELECT id, created_at
                         FROM batched_background_migration_jobs
                        WHERE batched_background_migration_id = m.id
                          AND m.status IN (1, 4)
                        ORDER BY id DESC
                        LIMIT 21) AS recent) AS gaps) AS pace
 WHERE :id::bigint IS NULL OR m.id = :id::bigint
 ORDER BY m.id
