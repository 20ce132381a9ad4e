-- When the latest :recent jobs of each migration among :ids were created, up to the job :mark.
--   psql -v ids="'{1,2}'" -v mark=1000 -v recent=21 -f sql/recent.sql
--
-- Never prepared: it is sent as seldom as counts.sql, and planned for the :recent that it has.
SELECT migration_id,
       job.created_at
  FROM pg_catalog.unnest(:ids::bigint[]) AS migration_id
 CROSS JOIN LATERAL (
       SELECT id, created_at
         FROM public.batched_background_migration_jobs
        WHERE batched_background_migration_id = migration_id
          AND id <= :mark::bigint
        ORDER BY id DESC
        LIMIT :recent::bigint) AS job
 ORDER BY migration_id, job.id
