-- Why a migration failed, and the only indexes the jobs table ever got: none on a job's status.

ALTER TABLE batched_background_migrations
    ADD COLUMN failure_error_code smallint;

CREATE INDEX index_batched_background_migration_jobs_on_migration
    ON batched_background_migration_jobs (batched_background_migration_id);

CREATE INDEX index_batched_background_migration_jobs_on_migration_max_value
    ON batched_background_migration_jobs (batched_background_migration_id, max_value);

CREATE INDEX index_batched_background_migration_jobs_on_migration_id_desc
    ON batched_background_migration_jobs (batched_background_migration_id, id DESC);
