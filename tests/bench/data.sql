-- Migrations and jobs to measure on, always the same ones: as many as asked, the jobs in equal
-- shares, and those of one migration one after the other, as a worker makes them.
--   psql -v migrations=10 -v jobs=1000 -v failed_every=200 -f tests/bench/data.sql

BEGIN;

-- Each job's look at its migration, the foreign key's, takes longer than all else here.
SET LOCAL session_replication_role = replica;

-- The first half finished, then one running, one failed, and the others active or paused; one of
-- three has no bounds, as in a registry of 4.39.
INSERT INTO batched_background_migrations (
    id, name, status, failure_error_code,
    table_name, column_name, job_signature_name, batching_strategy,
    min_value, max_value, batch_size, sub_batch_size, total_tuple_count,
    created_at, updated_at, started_at, finished_at
)
SELECT
    id,
    format('backfill_repository_blobs_column_%s', id),
    status,
    CASE WHEN status = 3 THEN 4 END,
    'public.repository_blobs',
    format('column_%s', id),
    format('repositoryBlobsColumn%sBackfill', id),
    CASE WHEN id % 3 = 0 THEN 'NullKeySetBatchingStrategy' END,
    CASE WHEN id % 3 = 0 THEN 0 ELSE 1 END,
    CASE WHEN id % 3 = 0 THEN 0 ELSE 9223372036854775807 END,
    1000,
    100,
    (:jobs::bigint / :migrations + 1) * 3000,
    day,
    day + interval '7 hours',
    day + interval '1 hour',
    CASE WHEN status = 2 THEN day + interval '7 hours' END
FROM generate_series(1, :migrations) AS id
CROSS JOIN LATERAL (
    SELECT
        timestamptz '2026-01-01 00:00:00.123456Z' + id * interval '1 hour' AS day,
        CASE WHEN id <= :migrations / 2 THEN 2
            WHEN id = :migrations / 2 + 1 THEN 4
            WHEN id = :migrations / 2 + 2 THEN 3
            ELSE id % 2 END AS status
) AS migration;

-- One of so many failed, save in what is finished.
INSERT INTO batched_background_migration_jobs (
    batched_background_migration_id, min_value, max_value, status, failure_error_code, attempts,
    created_at, updated_at, started_at, finished_at
)
SELECT
    migration_id,
    job * 1000 + 1,
    (job + 1) * 1000,
    CASE WHEN failed THEN 3 ELSE 2 END,
    CASE WHEN failed THEN 0 END,
    1,
    instant,
    instant,
    instant,
    CASE WHEN NOT failed THEN instant END
FROM generate_series(0, :jobs::bigint - 1) AS job
CROSS JOIN LATERAL (
    SELECT
        job * :migrations / :jobs + 1 AS migration_id,
        job % :failed_every = :failed_every - 1 AND job * :migrations / :jobs >= :migrations / 2 AS failed,
        timestamptz '2026-01-01 00:00:00.123456Z' + job * interval '1 second' AS instant
) AS made;

COMMIT;

VACUUM (FREEZE, ANALYZE) batched_background_migrations, batched_background_migration_jobs;
