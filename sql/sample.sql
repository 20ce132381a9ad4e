-- Sample migrations and jobs for the demo and the tests, on the newest schema: every state, every
-- nullable column with and without a value, and times that lead up to the moment of loading.

BEGIN;

-- What this file is written in, whatever the client's locale says.
SET LOCAL client_encoding TO 'UTF8';

INSERT INTO batched_background_migrations (
    id, name, status, failure_error_code,
    table_name, column_name, job_signature_name, batching_strategy,
    min_value, max_value, batch_size, sub_batch_size, total_tuple_count,
    created_at, updated_at, started_at, finished_at
) VALUES
    -- Finished by a registry too old to record when, or how many rows there were.
    (1, 'backfill_tags_namespace_id', 2, NULL,
        'public.tags', 'namespace_id', 'tagsNamespaceIdBackfill', NULL,
        1, 2400000, 20000, 0, NULL,
        now() - interval '400 days', NULL, NULL, NULL),
    -- Finished; its upper bound is "whatever there is".
    (2, 'backfill_blobs_media_type_id', 2, NULL,
        'public.blobs', 'media_type_id', 'blobsMediaTypeIdBackfill', NULL,
        1, 9223372036854775807, 10000, 0, 4783112,
        now() - interval '95 days', now() - interval '90 days',
        now() - interval '90 days 9 hours', now() - interval '90 days'),
    -- Finished; walks over what is still NULL, so it has no bounds.
    (3, 'fill_null_manifests_subject_id', 2, NULL,
        'public.manifests', 'subject_id', 'manifestsSubjectIdFill', 'NullKeySetBatchingStrategy',
        0, 0, 1000, 0, 63871,
        now() - interval '60 days', now() - interval '57 days',
        now() - interval '57 days 70 minutes', now() - interval '57 days'),
    -- Failed while working: a job used up its attempts.
    (4, 'copy_layers_size_to_size_bytes', 3, 4,
        'public.layers', 'size_bytes', 'layersSizeBytesCopy', '',
        1, 9223372036854775807, 5000, 0, 1696420,
        now() - interval '40 days', now() - interval '33 days',
        now() - interval '33 days 7 hours', NULL),
    -- Failed before it began: the column is not there.
    (5, 'backfill_repositories_storage_class', 3, 2,
        'public.repositories', 'storage_class', 'repositoriesStorageClassBackfill', NULL,
        1, 310000, 1000, 0, NULL,
        now() - interval '40 days', now() - interval '33 days', NULL, NULL),
    -- Running, with some jobs put off until the last batch exists.
    (6, 'backfill_manifests_top_level_namespace_id', 4, NULL,
        'public.manifests', 'top_level_namespace_id', 'manifestsTopLevelNamespaceIdBackfill', NULL,
        1, 9223372036854775807, 5000, 500, 9412337,
        now() - interval '6 days', now() - interval '15 hours',
        now() - interval '15 hours', NULL),
    -- Paused by an operator in its first half.
    (7, 'backfill_manifest_references_digest', 0, NULL,
        'public.manifest_references', 'child_digest', 'manifestReferencesDigestBackfill', NULL,
        1, 48211904, 20000, 1000, 13904558,
        now() - interval '6 days', now() - interval '2 days',
        now() - interval '2 days 5 hours', NULL),
    -- Paused near its end: the row count was an estimate, and too low.
    (8, 'copy_blobs_size_to_size_bytes', 0, NULL,
        'public.blobs', 'size_bytes', 'blobsSizeBytesCopy', NULL,
        1, 3004417, 20000, 0, 2871040,
        now() - interval '20 days', now() - interval '14 days',
        now() - interval '14 days 3 hours', NULL),
    -- Paused; what is still NULL, a part of it done.
    (9, 'fill_null_tags_manifest_media_type_id', 0, NULL,
        'public.tags', 'manifest_media_type_id', 'tagsManifestMediaTypeIdFill', 'NullKeySetBatchingStrategy',
        0, 0, 2000, 0, 516904,
        now() - interval '20 days', now() - interval '13 days',
        now() - interval '13 days 1 hour', NULL),
    -- Waiting for the worker; the rows are counted when it starts.
    (10, 'backfill_gc_blob_review_queue_event', 1, NULL,
        'public.gc_blob_review_queue', 'event', 'gcBlobReviewQueueEventBackfill', NULL,
        1, 9223372036854775807, 1000, 0, NULL,
        now() - interval '6 days', NULL, NULL, NULL),
    -- Waiting, on a table that was empty when its rows were counted.
    (11, 'fill_null_repository_blobs_checked_at', 1, NULL,
        'public.repository_blobs', 'checked_at', 'repositoryBlobsCheckedAtFill', 'NullKeySetBatchingStrategy',
        0, 0, 1000, 100, 0,
        now() - interval '6 days', now() - interval '1 day', now() - interval '2 days', NULL),
    -- A name that must survive every quoting on its way.
    (12, 'rewrite "größe" <prüfsumme> & l''œuvre \ ключ 鍵', 0, NULL,
        'public.media_types', 'media_type', 'mediaTypesNormalize', NULL,
        1, 214, 100, 0, 214,
        now() - interval '1 day', NULL, now() - interval '20 hours', NULL);

ALTER TABLE batched_background_migrations
    ALTER COLUMN id RESTART WITH 13;

-- Jobs as the worker leaves them, one about every minute; at_end tells that the last batch exists,
-- which is the one that reaches the migration's max_value. The worker writes created_at,
-- started_at and finished_at with now() in one transaction, so the three are the same instant.
INSERT INTO batched_background_migration_jobs (
    batched_background_migration_id, min_value, max_value, status, attempts,
    created_at, updated_at, started_at, finished_at
)
SELECT
    series.migration_id,
    CASE WHEN series.keys_per_job = 0 THEN 0 ELSE (job - 1) * series.keys_per_job + 1 END,
    CASE WHEN series.at_end AND job = series.jobs THEN migration.max_value
        ELSE job * series.keys_per_job END,
    2, 1,
    run.at, run.at, run.at, run.at
FROM (
    VALUES
        (1, 120, 20000, true, interval '399 days', interval '61 seconds'),
        (2, 479, 10400, true, interval '90 days', interval '64 seconds'),
        (3, 64, 0, true, interval '57 days', interval '62 seconds'),
        (4, 339, 5600, true, interval '33 days 20 minutes', interval '63 seconds'),
        (6, 812, 6300, false, interval '40 seconds', interval '65 seconds'),
        (7, 260, 21000, false, interval '2 days', interval '66 seconds'),
        (8, 150, 20030, true, interval '14 days 10 minutes', interval '67 seconds'),
        (9, 37, 0, false, interval '13 days', interval '62 seconds'),
        (12, 1, 100, false, interval '20 hours', interval '60 seconds')
) AS series (migration_id, jobs, keys_per_job, at_end, newest_age, spacing)
JOIN batched_background_migrations AS migration ON migration.id = series.migration_id
CROSS JOIN LATERAL generate_series(1, series.jobs) AS job
CROSS JOIN LATERAL (
    SELECT now() - series.newest_age - (series.jobs - job) * series.spacing AS at
) AS run
ORDER BY run.at;

-- The oldest registry wrote down only when a job was made.
UPDATE batched_background_migration_jobs
SET updated_at = NULL, started_at = NULL, finished_at = NULL
WHERE batched_background_migration_id = 1;

-- A retry keeps started_at and finishes later.
UPDATE batched_background_migration_jobs
SET attempts = 2,
    updated_at = now() - interval '90 days',
    finished_at = now() - interval '90 days'
WHERE batched_background_migration_id = 2 AND min_value = 30 * 10400 + 1;

-- A failed job has no finished_at. Once the last batch exists, the worker retries the failed job of
-- lowest id until its attempts are used up, and gives up there: the others were tried only once.
UPDATE batched_background_migration_jobs
SET status = 3, failure_error_code = 0, attempts = 1, finished_at = NULL
WHERE batched_background_migration_id = 4
    AND min_value IN (112 * 5600 + 1, 113 * 5600 + 1, 207 * 5600 + 1);

UPDATE batched_background_migration_jobs
SET attempts = 5, updated_at = now() - interval '33 days'
WHERE batched_background_migration_id = 4 AND min_value = 112 * 5600 + 1;

-- Before the last batch exists, nothing is retried.
UPDATE batched_background_migration_jobs
SET status = 3, failure_error_code = 0, finished_at = NULL
WHERE batched_background_migration_id = 6
    AND min_value IN (77 * 6300 + 1, 402 * 6300 + 1, 403 * 6300 + 1, 690 * 6300 + 1);

-- Paused amid the retries.
UPDATE batched_background_migration_jobs
SET status = 3, failure_error_code = 0, attempts = 3, finished_at = NULL,
    updated_at = now() - interval '14 days'
WHERE batched_background_migration_id = 8 AND min_value = 51 * 20030 + 1;

COMMIT;

ANALYZE batched_background_migrations, batched_background_migration_jobs;
