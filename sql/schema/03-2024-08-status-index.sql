-- For the worker, which looks for the next active or running migration.

CREATE INDEX index_batched_background_migrations_on_status
    ON batched_background_migrations (status);
